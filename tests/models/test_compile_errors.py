"""Bad input to `HiddenOutputs.compile`: the error comes at once, and says what to do."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.models.networks import data, one_hidden
from tests.support.own_penalty import Distance

L2 = kp.regularizers.L2


BELOW_ZERO = keras.optimizers.schedules.PolynomialDecay(1.0, 4, -1.0)
TWO = (
    r"(?s)`hidden_losses\[\('dense_4', 'out'\)\]` is {}, which compares labels with one tensor.*Hint"
    r".*hidden\[0\]"
)


def unregistered(y_true, hidden):
    return hidden


@pytest.mark.parametrize(
    ("compiled", "error", "message"),
    [
        (
            {"hidden_losses": {"dense_5": L2(0.1)}},
            ValueError,
            "'dense_5' is not a hidden tensor.*are 'dense_4', 'out'",
        ),
        ({"hidden_losses": {"dense_4": L2}}, TypeError, r"must be an object, not a class.*L2\(\.\.\.\)"),
        (
            {"hidden_losses": {"dense_4": lambda y, h: h}},
            ValueError,
            "is a lambda.*register_keras_serializable",
        ),
        ({"hidden_losses": {"dense_4": 3}}, TypeError, "must be a penalty.*Received: 3"),
        ({"hidden_losses": {"dense_4": "msee"}}, TypeError, "must be a penalty.*Received: 'msee'"),
        ({"hidden_losses": {"dense_4": [L2(0.1), "mse"]}}, TypeError, "list of these. Received: 'mse'"),
        ({"hidden_losses": {"dense_4": []}}, TypeError, "must be a penalty"),
        ({"hidden_losses": [L2(0.1)]}, TypeError, "must be a dict"),
        ({"hidden_losses": {("dense_4", "out"): L2(0.1)}}, ValueError, "L2 measures one tensor.*list of 2"),
        ({"hidden_losses": {"dense_4": Distance(0.1)}}, ValueError, "Distance compares 2 tensors"),
        (
            {"hidden_losses": {"dense_4": L2(0.1)}, "hidden_loss_weights": {"dense_4": 2.0}},
            ValueError,
            "has its own strength",
        ),
        (
            {"hidden_losses": {"dense_4": "mse"}, "hidden_loss_weights": {"out": 2.0}},
            ValueError,
            "'out'.*`hidden_losses` does not have",
        ),
        (
            {"hidden_losses": {"dense_4": "mse"}, "hidden_loss_weights": {"dense_4": "2"}},
            TypeError,
            "hidden_loss_weights.*finite number",
        ),
        (
            {"hidden_losses": {"dense_4": "mse"}, "hidden_loss_weights": {"dense_4": BELOW_ZERO}},
            ValueError,
            r"`hidden_loss_weights\['dense_4'\]` of .* is the schedule PolynomialDecay, which returns -0.5",
        ),
        (
            {"hidden_losses": {"dense_4": L2(0.1)}, "hidden_targets": {"dense_4": "out"}},
            ValueError,
            r"`hidden_targets\['dense_4'\]` names labels for a penalty, which uses none",
        ),
        (
            {"hidden_losses": {"dense_4": "mse"}, "hidden_targets": {"out": "out"}},
            ValueError,
            "`hidden_targets` has the keys .'out'.*`hidden_losses` and `hidden_metrics` does not have",
        ),
        (
            {"hidden_losses": {"dense_4": "mse"}, "hidden_targets": {"dense_4": 3}},
            TypeError,
            r"`hidden_targets\['dense_4'\]` must be a name, a str. Received: 3",
        ),
        (
            {"hidden_losses": {"dense_4": "mse"}, "hidden_names": {"dense_4": ""}},
            TypeError,
            r"`hidden_names\['dense_4'\]` must be a name",
        ),
        (
            {"hidden_metrics": {"dense_5": ["mae"]}},
            ValueError,
            "`hidden_metrics` .*'dense_5' is not a hidden",
        ),
        (
            {"hidden_metrics": {("dense_4", "out"): ["mae"]}},
            ValueError,
            "`hidden_metrics` has the key .*a metric measures one tensor",
        ),
        ({"hidden_metrics": ["mae"]}, TypeError, "`hidden_metrics` must be a dict"),
        ({"hidden_losses": {("dense_4", "out"): "mse"}}, ValueError, TWO.format("mean_squared_error")),
        ({"hidden_losses": {("dense_4", "out"): keras.losses.Huber()}}, ValueError, TWO.format("huber_loss")),
        ({"hidden_losses": {("dense_4", "out"): kp.losses.Triplet()}}, ValueError, TWO.format("triplet")),
        (
            {"hidden_losses": {("dense_4", "out"): keras.losses.mean_absolute_error}},
            ValueError,
            TWO.format("mean_absolute_error"),
        ),
        (
            {"metrics": {"dense_4": ["mae"]}},
            ValueError,
            r"`metrics` has the key 'dense_4'.*Write hidden_metrics={'dense_4': \['mae'\]}",
        ),
        (
            {"weighted_metrics": {"dense_4": ["mae"]}},
            ValueError,
            "`weighted_metrics` has the key 'dense_4'.*Write hidden_weighted_metrics=",
        ),
        ({"loss_weights": {"dense_4": 2.0}}, ValueError, r"Write hidden_loss_weights={'dense_4': 2.0}"),
        ({"joint_loss": lambda y, p, h: p}, ValueError, "`joint_loss` is a lambda"),
        ({"joint_loss": "mse"}, TypeError, r"function of \(y_true, y_pred, hidden\).*'mse'"),
    ],
)
def test_what_cannot_be_compiled(compiled, error, message):
    model = kp.models.HiddenOutputs(one_hidden(), hidden=["dense_4", "out"])
    with pytest.raises(error, match=message):
        model.compile("sgd", "mse", **compiled)


def test_a_hidden_tensor_as_a_key_of_the_losses_of_outputs():
    net = one_hidden()
    model = kp.models.HiddenOutputs(keras.Model(net.inputs, net.outputs), hidden=["dense_4", "out"])
    with pytest.raises(
        ValueError, match=r"`loss` has the key 'dense_4'.*Write hidden_losses={'dense_4': 'mse'}"
    ):
        model.compile("sgd", {"dense_4": "mse"})
    model.compile("sgd", {"out": "mse"}, metrics={"out": ["mae"]})  # which is an output too
    assert set(model.evaluate(*data(), verbose=0, return_dict=True)) == {"loss", "main_loss", "mae"}


@pytest.mark.parametrize("reduction", [None, "none"])
def test_one_value_per_example_is_no_loss_to_train_on(reduction):
    message = rf"reduction={reduction!r}, which returns one value per example.*'sum_over_batch_size'"
    model = kp.models.HiddenOutputs(one_hidden(), hidden=["dense_4"])
    for loss in (
        kp.losses.Huber(0.7, reduction=reduction),
        keras.losses.MeanSquaredError(reduction=reduction),
    ):
        with pytest.raises(ValueError, match=rf"`hidden_losses\['dense_4'\]` has.*{message}"):
            model.compile("sgd", "mse", hidden_losses={"dense_4": loss})
        with pytest.raises(ValueError, match=f"`loss` has.*{message}"):
            model.compile("sgd", loss)
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])
    with pytest.raises(ValueError, match=f"`loss` has Contrastive with {message}"):
        kp.models.Siamese(encoder).compile("sgd", kp.losses.Contrastive(reduction=reduction))
    transform = kp.layers.UniversalPerturbation(0.5)
    with pytest.raises(ValueError, match=f"`raw_loss` has Confusion with {message}"):
        kp.models.AntiPiracy(encoder, transform, raw_loss=kp.losses.Confusion(reduction=reduction))


@keras.saving.register_keras_serializable("tests")
class PerExample(keras.losses.Loss):
    """A loss of a user's own, which reduces nothing."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        return keras.losses.mean_squared_error(y_true, y_pred)


def test_a_loss_of_ones_own_that_reduces_nothing():
    model = kp.models.HiddenOutputs(one_hidden(), hidden=["out"])
    model.compile("sgd", "mse", hidden_losses={"out": PerExample()})
    with pytest.raises(
        ValueError, match=r"`hidden_losses\['out'\]`.*values of shape .* instead of one number"
    ):
        model.evaluate(*data(), verbose=0)


def test_a_log_key_that_is_taken():
    model = kp.models.HiddenOutputs(one_hidden(), hidden={"main": "dense_4"})
    with pytest.raises(ValueError, match="logged as 'main_loss'.*hidden_names={'main': 'another'}"):
        model.compile("sgd", "mse", hidden_losses={"main": L2(0.1)})


def test_nothing_to_train_on():
    model = kp.models.HiddenOutputs(one_hidden(), hidden=["dense_4"])
    model.compile("sgd")
    with pytest.raises(ValueError, match="no loss to train on"):
        model.fit(*data(), verbose=0)


def test_several_sample_weights_for_one_hidden_loss():
    x = keras.Input((3,))
    h = keras.layers.Dense(2, name="h")(x)
    outputs = [keras.layers.Dense(1, name=name)(h) for name in ("a", "b")]
    model = kp.models.HiddenOutputs(keras.Model(x, outputs), hidden=["h"])
    model.compile("sgd", ["mse", "mse"], hidden_losses={"h": first_label_distance})
    batch, labels = data()
    y = [labels[:, :1], labels[:, 1:]]
    model.evaluate(batch, y, verbose=0)
    weights = [labels[:, 0] ** 2, labels[:, 1] ** 2]
    with pytest.raises(ValueError, match="`sample_weight` must be one array.*2 arrays"):
        model.evaluate(batch, y, sample_weight=weights, verbose=0)


def first_label_distance(y_true, hidden):
    return keras.losses.mean_squared_error(y_true[0], hidden[:, :1])


def test_a_function_that_could_not_be_loaded_again_is_refused_before_a_file_is_touched(tmp_path):
    model = kp.models.HiddenOutputs(one_hidden(), hidden=["dense_4"])
    file = tmp_path / "model.keras"
    model.compile("sgd", "mse", hidden_losses={"dense_4": L2(0.1)})
    model.save(file)
    before = file.read_bytes()
    model.compile("sgd", "mse", hidden_losses={"dense_4": unregistered})
    model.train_on_batch(*data())
    with pytest.raises(ValueError, match="function `unregistered`.*register_keras_serializable"):
        model.save(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("where", ["loss", "hidden_losses"])
def test_labels_that_cannot_be_meant_are_seen_on_the_first_batch(where):
    model = kp.models.HiddenOutputs(one_hidden(), hidden=["out"])
    loss = kp.losses.Confusion(from_logits=True)
    model.compile("sgd", **({"loss": loss} if where == "loss" else {"hidden_losses": {"out": loss}}))
    x, _ = data()
    with pytest.raises(ValueError, match="`y_true` of Confusion must be between 0 and 1. Received.*to 3"):
        model.fit(x, 3 * np.eye(2, dtype="float32")[np.arange(len(x)) % 2], verbose=0)


def test_logits_where_probabilities_are_expected():
    model = kp.models.HiddenOutputs(one_hidden(), hidden=["out"])
    model.compile("sgd", kp.losses.CategoricalCrossentropy())
    x, _ = data()
    with pytest.raises(ValueError, match="`y_pred` of CategoricalCrossentropy.*set `from_logits=True`"):
        model.fit(x, np.eye(2, dtype="float32")[np.arange(len(x)) % 2], verbose=0)
