"""Penalties of values between 0 and 1: others are refused where they are seen, and `fit` warns beforehand."""

import inspect
import warnings

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.support.helpers import BACKEND

R = kp.regularizers
IN_RANGE = {
    "KLSparsity": lambda: R.KLSparsity(0.1),
    "Entropy": lambda: R.Entropy(0.1),
    "Confidence": lambda: R.Confidence(0.1),
    "MarginalEntropy": lambda: R.MarginalEntropy(0.1),
    "LoadBalance": lambda: R.LoadBalance(0.1, from_logits=False),
}
REMEDIES = {name: "set `from_logits=True`" for name in IN_RANGE} | {
    "KLSparsity": "End the layer in a sigmoid"
}
WAYS = ("argument", "layer", "by name", "compiled")
by_name = pytest.mark.parametrize("name", IN_RANGE)
X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32") * 4
Y = np.zeros((16, 1), "float32")


def model_of(way, penalty, activation):
    inputs = keras.Input((6,))
    argument = penalty if way == "argument" else None
    hidden = layers.Dense(5, activation=activation, activity_regularizer=argument, name="hidden")
    h = hidden(inputs)
    if way == "layer":
        h = kp.layers.ActivityPenalty(penalty)(h)
    model = keras.Model(inputs, layers.Dense(1)(h))
    if way == "by name":
        model = kp.penalize(model, {"hidden": penalty})
    if way == "compiled":
        model = kp.models.HiddenOutputs(model, hidden=["hidden"])
        model.compile("sgd", "mse", hidden_losses={"hidden": penalty})
    else:
        model.compile("sgd", "mse")
    return model


def warned(run):
    """The warnings of `run` that are about a range, and the error that it raised, or None."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run()
            error = None
        except ValueError as raised:
            error = str(raised)
    return [str(w.message) for w in caught if "between 0 and 1" in str(w.message)], error


def test_every_penalty_of_a_range_is_here():
    of_a_range = set()
    for name in R.__all__:
        cls = getattr(R, name)
        for option in [{}, {"from_logits": False}]:
            if set(option) <= set(inspect.signature(cls).parameters):
                try:
                    penalty = cls(0.1, **option)
                except TypeError:  # an argument without a default
                    continue
                of_a_range |= {name} if penalty.refuses_values else set()
    assert of_a_range == set(IN_RANGE)


@by_name
@pytest.mark.parametrize("bad", [-0.5, 1.5, -np.inf, 7.0])
def test_values_out_of_range_are_refused_with_what_to_do(name, bad):
    x = np.full((3, 4), 0.25, "float32")
    IN_RANGE[name]().measure(x)
    x[1, 2] = bad
    with pytest.raises(
        ValueError, match=rf"`x` of {name} must be between 0 and 1.*{bad:g}.*{REMEDIES[name]}"
    ):
        IN_RANGE[name]().measure(x)
    IN_RANGE[name]().measure(x, np.array([True, False, True]))  # what a mask drops may be anything


@pytest.mark.parametrize(
    ("way", "name"),
    [*((way, "KLSparsity") for way in WAYS), *(("argument", name) for name in list(IN_RANGE)[1:])],
)
def test_fit_says_so(way, name):
    """A compiled step shows no values: a warning names the activation. Values that are seen are refused."""
    model = []
    messages, error = warned(
        lambda: (
            model.append(model_of(way, IN_RANGE[name](), "relu")),
            model[0].fit(X, Y, verbose=0),
            model[0].fit(X, Y, verbose=0),
        )
    )
    (message,) = messages
    for words in (name, "'hidden' ends in relu", REMEDIES[name]):
        assert words in message
    if BACKEND == "torch" or way == "compiled":
        assert f"`x` of {name} must be between 0 and 1" in error
    else:
        assert error is None


@pytest.mark.parametrize("way", WAYS)
def test_fit_says_nothing_where_all_is_well(way):
    assert warned(lambda: model_of(way, R.KLSparsity(0.1), "sigmoid").fit(X, Y, verbose=0)) == ([], None)


def test_a_layer_that_passes_on_what_it_gets_is_not_suspected():
    inputs = keras.Input((6,))
    h = layers.Dense(5, activation="sigmoid")(inputs)
    for passes_on in (layers.Activation("linear"), layers.Dropout(0.5), layers.Reshape((5,))):
        assert warned(lambda layer=passes_on: kp.layers.ActivityPenalty(R.KLSparsity(0.1))(layer(h))) == (
            [],
            None,
        )
    for beyond in (layers.Activation("tanh"), layers.ReLU(), layers.Dense(5)):
        messages, _ = warned(lambda layer=beyond: kp.layers.ActivityPenalty(R.KLSparsity(0.1))(layer(h)))
        assert len(messages) == 1


@pytest.mark.parametrize("name", ["KLSparsity", "LoadBalance"])
def test_audit_names_the_cause(name):
    records = []
    messages, error = warned(
        lambda: records.extend(kp.audit(model_of("argument", IN_RANGE[name](), "relu"), X, Y).records)
    )
    assert (messages, error) == ([], None)
    assert records[0]["verdict"] == "out of range"
    assert f"`x` of {name} must be between 0 and 1" in records[0]["why"][0]
    assert REMEDIES[name] in records[0]["why"][0]


class Bounded(R.PerExamplePenalty):
    """A user's own penalty of values between 0 and 1."""

    outside_0_and_1 = "End the layer in a sigmoid."

    def elements(self, x):
        return x * (1.0 - x)


@pytest.mark.filterwarnings("ignore:Bounded is not registered")
def test_a_penalty_of_ones_own_may_ask_for_a_range():
    with pytest.raises(
        ValueError, match="`x` of Bounded must be between 0 and 1.*from -1 to 3. End the layer in"
    ):
        Bounded(0.1).measure(np.array([[-1.0, 3.0]]))
