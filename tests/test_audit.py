"""What `audit` says of sound models: its numbers against independent ones, and that it changes nothing."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.support.helpers import gradient, tensor, to_numpy

RANDOM = np.random.RandomState(0)
X = RANDOM.normal(size=(16, 6)).astype("float32")
Y = RANDOM.randint(0, 3, 16)
STEPS = RANDOM.normal(size=(16, 5, 6)).astype("float32")
FINE = "reaches the gradient"


def mlp():
    inputs = keras.Input((6,))
    h = layers.Dense(8, activation="relu", name="a", activity_regularizer=kp.regularizers.L2(0.01))(inputs)
    h = kp.layers.ActivityPenalty([kp.regularizers.DeCov(0.1), kp.regularizers.L1(0.02)], name="both")(h)
    h = layers.Dropout(0.3)(layers.BatchNormalization()(h))
    return keras.Model(inputs, layers.Dense(3, activation="softmax", name="out")(h))


def penalized():
    L2 = kp.regularizers.L2(0.01)
    stack = [keras.Input((6,)), layers.Dense(8, activation="tanh", name="h_1"), layers.Dense(3, name="h_2")]
    return kp.penalize(keras.Sequential(stack), {"h_1": L2, "h_2:preactivation": L2})


def wrapped():
    model = kp.models.HiddenOutputs(penalized(), hidden=["h_1", "h_2"])
    losses = {
        "h_1": [kp.regularizers.L1(0.01), kp.regularizers.Covariance(kp.schedules.Target(0.1))],
        ("h_1", "h_2"): kp.regularizers.Hint(0.1, projection=True),
        "h_2": kp.losses.SupervisedContrastive(),
    }
    return model, {"hidden_losses": losses}


def recurrent():
    inputs = keras.Input((5, 6))
    h = layers.LSTM(4, return_sequences=True, name="lstm")(layers.Masking()(inputs))
    h = kp.layers.ActivityPenalty(kp.regularizers.TemporalSmoothness(0.1), name="smooth")(h)
    h = layers.TimeDistributed(layers.Dense(3), name="each_step")(h)
    h = kp.layers.ActivityPenalty(kp.regularizers.L1(0.01), name="small")(h)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(h)))


def siamese():
    return kp.models.Siamese(keras.Sequential([keras.Input((6,)), layers.Dense(4, name="code")]))


def compiled(model, loss="sparse_categorical_crossentropy", **options):
    model.compile(keras.optimizers.SGD(0.1), loss, **options)
    return model


def sound():
    model, options = wrapped()
    padded = STEPS.copy()
    padded[:8, 3:] = 0.0
    twice = layers.Dense(6, name="twice")
    inputs = keras.Input((6,))
    each_use = kp.layers.ActivityPenalty(kp.regularizers.L2(0.1), name="each_use")
    shared = keras.Model(
        inputs, layers.Dense(3, activation="softmax")(each_use(twice(each_use(twice(inputs)))))
    )
    return {
        "an argument, a layer, batch normalization, dropout": (compiled(mlp()), X),
        "by name": (compiled(penalized(), keras.losses.SparseCategoricalCrossentropy(from_logits=True)), X),
        "hidden losses": (
            compiled(model, keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options),
            X,
        ),
        "a masked recurrent network": (compiled(recurrent()), padded),
        "a layer that is used twice": (compiled(shared), X),
    }


@pytest.mark.parametrize("name", sound())
def test_nothing_is_wrong_with_a_sound_model(name):
    model, x = sound()[name]
    audit = kp.audit(model, x, Y)
    assert len(audit.records) >= 1
    assert [(r["name"], r["verdict"], r["why"]) for r in audit.problems] == []
    assert {r["verdict"] for r in audit.records} <= {
        FINE,
        "zero for now",
        "zero on this batch",
        "not there yet",
    }
    assert str(audit).count(FINE) == sum(r["verdict"] == FINE for r in audit.records)


def test_a_narrow_terminal_loses_nothing(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    model, options = wrapped()
    compiled(model, keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    audit = kp.audit(model, X, Y)
    lines = [line for line in str(audit).splitlines() if " x " in line and "multiple" not in line]
    for record, line in zip(audit.records, lines, strict=True):
        assert record["name"] in line and record["at"] in line and record["penalty"] in line
        assert line.endswith(record["verdict"])


def test_the_numbers_of_one_step():
    inputs = keras.Input((6,))
    hidden, out = layers.Dense(4, name="hidden"), layers.Dense(3, name="out")
    h = kp.layers.ActivityPenalty([kp.regularizers.L2(0.1), kp.regularizers.L1(0.3)], name="quiet")(
        hidden(inputs)
    )
    model = compiled(keras.Model(inputs, out(h)), "mse")
    y = RANDOM.normal(size=(16, 3)).astype("float32")
    audit = kp.audit(model, X, y)
    two, one = audit.records

    h = to_numpy(hidden(X))
    kernel, bias = (to_numpy(v.value) for v in out.weights)
    error = h @ kernel + bias - y
    main = np.mean(error**2)
    values = 0.1 * np.mean(np.sum(h**2, 1)), 0.3 * np.mean(np.sum(np.abs(h), 1))
    of_main = np.linalg.norm(2 * error @ kernel.T / error.size)
    np.testing.assert_allclose(audit.main_loss, main, rtol=1e-5)
    np.testing.assert_allclose(audit.loss, main + sum(values), rtol=1e-5)
    for record, value, slope in zip((two, one), values, (0.2 * h / 16, 0.3 * np.sign(h) / 16), strict=True):
        np.testing.assert_allclose(record["value"], value, rtol=1e-5)
        np.testing.assert_allclose(record["share"], value / (main + sum(values)), rtol=1e-5)
        np.testing.assert_allclose(record["gradient"], np.linalg.norm(slope), rtol=1e-5)
        np.testing.assert_allclose(record["main_gradient"], of_main, rtol=1e-4)
        np.testing.assert_allclose(record["ratio"], np.linalg.norm(slope) / of_main, rtol=1e-4)
        assert (record["elements"], record["masked"], record["uses"]) == (64, 0, 1)
    assert (two["name"], two["at"], two["way"]) == ("quiet", "quiet", "ActivityPenalty")
    assert (two["penalty"], two["strength"], two["formula"]) == (
        "L2",
        0.1,
        r"\frac{1}{N}\sum_n \sum_i x_{ni}^2",
    )


def test_the_gradient_of_the_main_loss_is_that_behind_the_penalty_alone():
    """What penalties further on say of the tensor is not the main loss's."""
    inputs = keras.Input((6,))
    first, second = layers.Dense(4), layers.Dense(2)
    h = kp.layers.ActivityPenalty(kp.regularizers.L2(0.1), name="first")(first(inputs))
    h = kp.layers.ActivityPenalty(kp.regularizers.L2(50.0), name="second")(second(h))
    model = compiled(keras.Model(inputs, h), "mse")
    y = np.zeros((16, 2), "float32")
    record = kp.audit(model, X, y).records[0]
    expected = gradient(lambda h: ops.mean(ops.square(second(h))), tensor(to_numpy(first(X))))
    np.testing.assert_allclose(record["main_gradient"], np.linalg.norm(expected), rtol=1e-4)


def test_a_penalty_in_a_nested_model_and_masked_elements():
    inner = keras.Sequential(
        [keras.Input((5, 6)), layers.Masking(), layers.Dense(4, name="deep")], name="inner"
    )
    inner = kp.penalize(inner, {"deep": kp.regularizers.L2(0.1)})
    inputs = keras.Input((5, 6))
    model = compiled(keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inner(inputs)))), "mse")
    x = STEPS.copy()
    x[:4, 2:] = 0.0
    (record,) = kp.audit(model, x, np.zeros((16, 3), "float32")).records
    assert record["at"] == "inner/deep"
    assert (record["masked"], record["elements"]) == (4 * 3 * 4, (16 * 5 - 12) * 4)


def test_it_changes_nothing_and_says_the_same_twice():
    wrapper, options = wrapped()
    compiled(wrapper, keras.losses.SparseCategoricalCrossentropy(from_logits=True), **options)
    for model in (compiled(mlp()), wrapper):
        model.fit(X, Y, verbose=0)
        variables = [*model.variables, *model.metrics_variables]
        before = [to_numpy(v.value).copy() for v in variables]
        first = kp.audit(model, X, Y).records
        for variable, value in zip(variables, before, strict=True):
            np.testing.assert_array_equal(to_numpy(variable.value), value)
        second = kp.audit(model, X, Y).records
        assert [r["verdict"] for r in first] == [r["verdict"] for r in second]
        np.testing.assert_allclose([r["value"] for r in first], [r["value"] for r in second], rtol=1e-6)
        assert not {"call", "add_loss"} & {name for layer in model._flatten_layers() for name in vars(layer)}


def test_it_shows_what_the_next_training_step_adds():
    """With dropout before it, a penalty's value depends on the step's seed."""
    inputs = keras.Input((6,))
    h = layers.Dropout(0.5, seed=3)(layers.Dense(8)(inputs))
    h = kp.layers.ActivityPenalty(kp.regularizers.L2(0.1), name="quiet")(h)
    model = compiled(keras.Model(inputs, layers.Dense(3, activation="softmax")(h)))
    value = kp.audit(model, X, Y).records[0]["value"]
    logs = model.train_on_batch(X, Y, return_dict=True)
    np.testing.assert_allclose(float(logs["quiet"]), value, rtol=1e-5)


def test_without_labels_there_is_no_main_loss():
    audit = kp.audit(compiled(mlp()), X)
    assert audit.main_loss is None
    assert {r["ratio"] for r in audit.records} == {None}
    assert {r["share"] for r in audit.records} == {None}
    assert all(r["value"] > 0 for r in audit.records)
    assert "no main loss" in str(audit)
    np.testing.assert_allclose(audit.loss, sum(r["value"] for r in audit.records), rtol=1e-5)
    assert kp.audit(mlp(), X, Y).main_loss is None  # not compiled


def test_a_model_without_penalties_has_an_empty_table():
    model = compiled(keras.Sequential([keras.Input((6,)), layers.Dense(3, activation="softmax")]))
    assert kp.audit(model, X, Y).records == []
    assert kp.audit(keras.Sequential([keras.Input((6,)), layers.Dense(3)]), X).loss == 0.0


def test_a_subclassed_model_is_built_as_fit_builds_it():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = layers.Dense(4, activity_regularizer=kp.regularizers.L2(0.1), name="hidden")
            self.out = layers.Dense(3, activation="softmax")

        def call(self, x):
            return self.out(self.hidden(x))

    (record,) = kp.audit(compiled(Net()), X, Y).records
    assert (record["at"], record["verdict"]) == ("hidden", FINE)


def test_a_moving_strength_is_that_of_the_next_step():
    schedule = keras.optimizers.schedules.PolynomialDecay(0.0, 10, 0.1)
    inputs = keras.Input((6,))
    h = kp.layers.ActivityPenalty(kp.regularizers.L2(schedule), name="warm")(layers.Dense(4)(inputs))
    model = compiled(keras.Model(inputs, layers.Dense(3, activation="softmax")(h)))
    assert kp.audit(model, X, Y).records[0]["verdict"] == "zero for now"
    model.fit(X, Y, batch_size=4, verbose=0)
    assert kp.audit(model, X, Y).records[0]["strength"] == pytest.approx(0.04)


def test_labels_that_a_hidden_loss_needs_are_asked_for():
    model, options = wrapped()
    compiled(model, "mse", **options)
    with pytest.raises(ValueError, match="`y` of audit is missing, but h_2_loss of .* needs labels"):
        kp.audit(model, X)


@pytest.mark.parametrize("x", [iter([]), "digits", 3.0, None])
def test_what_is_no_batch_is_refused(x):
    with pytest.raises(TypeError, match="`x` of audit must be one batch"):
        kp.audit(compiled(mlp()), x)


def test_a_whole_batch_in_place_of_inputs_is_refused():
    with pytest.raises(ValueError, match=r"must be only the inputs.*write `audit\(model, \*batch\)`"):
        kp.audit(compiled(mlp()), (X, Y))


def test_data_of_different_length_is_refused():
    with pytest.raises(ValueError, match=r"`y` of audit must have 16 rows.*Received: y of shape \(4,\)"):
        kp.audit(compiled(mlp()), X, Y[:4])
    with pytest.raises(ValueError, match="`sample_weight` of audit must have 16 rows"):
        kp.audit(compiled(mlp()), X, Y, np.ones(3))
    with pytest.raises(ValueError, match="`x` of audit must have 16 rows"):
        kp.audit(compiled(mlp()), [X, X[:3]], Y)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match="`model` of audit must be a Keras model"):
        kp.audit(layers.Dense(3), X)


def test_other_models_of_this_package():
    a, b = X, RANDOM.normal(size=X.shape).astype("float32")
    encoder = keras.Sequential(
        [keras.Input((6,)), layers.Dense(4, activity_regularizer=kp.regularizers.L2(0.1))]
    )
    model = kp.models.Siamese(encoder)
    model.compile("sgd", kp.losses.Contrastive())
    (record,) = kp.audit(model, [a, b], (Y == 0).astype("float32")).records
    assert (record["uses"], record["verdict"]) == (2, FINE)
