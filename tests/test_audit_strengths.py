"""`Audit.strengths`: the strengths that it returns give the ratio that was asked for."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp

RANDOM = np.random.RandomState(0)
X = RANDOM.normal(size=(16, 6)).astype("float32")
Y = RANDOM.randint(0, 3, 16)
R = kp.regularizers


def network():
    keras.utils.set_random_seed(0)
    stack = [keras.Input((6,)), layers.Dense(8, "tanh", name="a"), layers.Dense(5, "sigmoid", name="b")]
    return keras.Sequential([*stack, layers.Dense(3, "softmax", name="out")])


def compiled(model, **options):
    model.compile("sgd", "sparse_categorical_crossentropy", **options)
    return model


def in_layers(strengths):
    model = network()
    inputs = keras.Input((6,))
    one, two = strengths.get("two", (0.7, 2.0))
    a = kp.layers.ActivityPenalty([R.L2(one), R.DeCov(two)], name="two")(model.get_layer("a")(inputs))
    b = model.get_layer("b")
    b.activity_regularizer = R.L1(strengths.get("b", 0.3), per="element")
    return compiled(keras.Model(inputs, model.get_layer("out")(b(a))))


def by_name(strengths):
    penalties = {
        "a": R.HoyerSquare(strengths.get("a_penalty", 1e-3)),
        "b": R.KLSparsity(strengths.get("b_penalty", 5.0)),
        "out": R.Confidence(strengths.get("out_penalty", 1.0)),
    }
    return compiled(kp.penalize(network(), penalties))


def hidden(strengths):
    keras.utils.set_random_seed(1)  # for the projection
    model = kp.models.HiddenOutputs(network(), hidden=["a", "b"])
    losses = {
        "a": kp.losses.SupervisedContrastive(),
        "b": [R.L2(s) for s in strengths.get("b_loss", (0.1, 20.0))],
        ("a", "b"): R.Hint(strengths.get("a_b_loss", 0.1), per="element", projection=True),
    }
    return compiled(model, hidden_losses=losses, hidden_loss_weights={"a": strengths.get("a_loss", 0.3)})


@pytest.mark.parametrize("ratio", [0.1, 3.0])
@pytest.mark.parametrize("build", [in_layers, by_name, hidden])
def test_the_strengths_give_the_ratio(build, ratio):
    strengths = kp.audit(build({}), X, Y).strengths(ratio)
    records = kp.audit(build(strengths), X, Y).records
    assert {record["name"] for record in records} == strengths.keys() and len(records) >= 3
    np.testing.assert_allclose([record["ratio"] for record in records], ratio, rtol=1e-3)


def test_the_default_is_a_tenth():
    audit = kp.audit(by_name({}), X, Y)
    assert audit.strengths() == audit.strengths(0.1)


def test_a_strength_that_changes_counts_as_it_is_in_this_step():
    """At its start a schedule may be 0; later it has the strength that the ratio belongs to."""
    network_ = network()
    rising = keras.optimizers.schedules.PolynomialDecay(0.0, 4, end_learning_rate=8.0)
    model = compiled(kp.penalize(network_, {"a": R.L2(rising)}))
    assert kp.audit(model, X, Y).strengths() == {"a_penalty": None}
    for _ in range(2):
        model.train_on_batch(X, Y)
    strength = kp.audit(model, X, Y).strengths(0.2)["a_penalty"]
    (record,) = kp.audit(compiled(kp.penalize(network_, {"a": R.L2(strength)})), X, Y).records
    assert record["ratio"] == pytest.approx(0.2, rel=1e-3)


def test_l1_l2_gets_a_factor_for_both():
    factor = kp.audit(compiled(kp.penalize(network(), {"a": R.L1L2(1.0, 0.5)})), X, Y).strengths()[
        "a_penalty"
    ]
    scaled = kp.penalize(network(), {"a": R.L1L2(factor, 0.5 * factor)})
    assert kp.audit(compiled(scaled), X, Y).records[0]["ratio"] == pytest.approx(0.1, rel=1e-3)


def test_none_where_no_strength_gives_the_ratio():
    model = network()
    model.get_layer("b").activity_regularizer = keras.regularizers.L2(0.1)  # has no strength
    penalties = {"a": R.Excess(0.1, threshold=9.0), "out": R.L2(0.0)}  # nothing exceeds 9; adds nothing
    strengths = kp.audit(compiled(kp.penalize(model, penalties)), X, Y).strengths()
    assert strengths == {"a_penalty": None, "b": None, "out_penalty": None}
    with pytest.raises(TypeError, match="`strength` of L2 must be a finite number"):
        R.L2(strengths["out_penalty"])


def test_it_needs_a_main_loss():
    audit = kp.audit(by_name({}), X)
    with pytest.raises(ValueError, match="no main loss. Compile the model with a loss, and pass `y`"):
        audit.strengths()


@pytest.mark.parametrize(
    ("ratio", "error"), [("0.1", TypeError), (0.0, ValueError), (float("inf"), ValueError)]
)
def test_a_ratio_is_a_number_above_0(ratio, error):
    audit = kp.audit(by_name({}), X, Y)
    with pytest.raises(error, match="`ratio` of Audit.strengths must be a finite number > 0"):
        audit.strengths(ratio)


@pytest.mark.parametrize(
    "attach", [lambda m, p: kp.penalize(m, {"a:preactivation": p}), kp.models.HiddenOutputs]
)
@pytest.mark.parametrize("activation", ["tanh", "softmax"])
def test_what_goes_into_an_activation_is_compared_with_the_main_loss(attach, activation):
    """Against the same network with the activation as a layer of its own."""
    inputs, penalty = keras.Input((6,)), R.L2(0.5)
    a, out = layers.Dense(8, activation, name="a"), layers.Dense(3, "softmax", name="out")
    if attach is kp.models.HiddenOutputs:
        model = compiled(
            attach(keras.Model(inputs, out(a(inputs))), hidden={"h": "a:preactivation"}),
            hidden_losses={"h": penalty},
        )
    else:
        model = compiled(attach(keras.Model(inputs, out(a(inputs))), penalty))
    linear = layers.Dense(8)
    h = kp.layers.ActivityPenalty(penalty)(linear(inputs))
    apart = compiled(keras.Model(inputs, out(layers.Activation(activation)(h))))
    linear.set_weights(a.get_weights())
    ratios = [kp.audit(m, X, Y).records[0]["ratio"] for m in (model, apart)]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-4)
