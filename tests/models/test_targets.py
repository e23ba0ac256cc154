"""Whose labels and weights a hidden tensor gets: `hidden_targets`, or what is inferred without it."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.models.networks import data
from tests.support.helpers import name_of
from tests.support.one_batch import OneBatch


def two_heads():
    start = keras.Input((3,), name="x")
    h = keras.layers.Dense(4, name="features")(start)
    outputs = {
        "who": keras.layers.Dense(3, "softmax", name="who")(h),
        "age": keras.layers.Dense(1, name="age")(h),
    }
    x = data()[0]
    y = {"who": np.arange(len(x)) % 3, "age": np.ones((len(x), 1), "float32")}
    return kp.models.HiddenOutputs(keras.Model(start, outputs), hidden=["features"]), x, y


@keras.saving.register_keras_serializable("tests")
def who_of(y_true, hidden):
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction=None)(y_true["who"], hidden)


@keras.saving.register_keras_serializable("tests")
def squares(y_true, hidden):
    return keras.ops.sum(keras.ops.square(hidden), axis=-1)


@keras.saving.register_keras_serializable("tests")
def who_alone(y_true, hidden):
    return keras.losses.sparse_categorical_crossentropy(y_true, hidden, from_logits=True)


HEADS = {"who": "sparse_categorical_crossentropy", "age": "mse"}


@pytest.mark.parametrize("loss", [kp.losses.Center(3), kp.losses.Triplet(), "mse"])
@pytest.mark.parametrize("eager", [False, True])
def test_whose_labels_a_hidden_loss_gets(loss, eager):
    model, x, y = two_heads()
    model.compile("sgd", HEADS, hidden_losses={"features": loss}, run_eagerly=eager)
    message = (
        r"`hidden_losses\['features'\]` takes one array of labels, but `y` has 2: '\w+', '\w+'.*"
        r"hidden_targets={'features': '(who|age)'}"
    )
    with pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(x, y, verbose=0)
    model.compile("sgd", HEADS, hidden_losses={"features": who_of}, run_eagerly=eager)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    hidden = model.model.get_layer("features")(x)
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y["who"], hidden)
    assert logs["features_loss"] == pytest.approx(float(expected), rel=1e-5)
    targets = {"features": "age" if loss == "mse" else "who"}
    model.compile("sgd", HEADS, hidden_losses={"features": loss}, hidden_targets=targets, run_eagerly=eager)
    assert model.fit(x, y, verbose=0).history["features_loss"][0] > 0


LABELLED = [
    kp.losses.Center(3),
    kp.losses.SupervisedContrastive(),
    kp.losses.Triplet(),
    kp.losses.PairwiseContrastive(),
    kp.losses.NTXent(),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "sparse_categorical_crossentropy",
    who_alone,
]


@pytest.mark.parametrize("loss", LABELLED, ids=name_of)
def test_every_labelled_loss_gets_the_labels_and_weights_of_one_head(loss):
    model, x, y = two_heads()
    y["who"] = y["who"] // 2 if isinstance(loss, kp.losses.NTXent) else y["who"]
    weights = {"who": np.linspace(0.1, 1.0, len(x)).astype("float32"), "age": np.ones(len(x), "float32")}
    model.compile(
        keras.optimizers.SGD(0.0),
        HEADS,
        hidden_losses={"features": loss},
        hidden_targets={"features": "who"},
        hidden_loss_weights={"features": 0.5},
    )
    hidden = model.model.get_layer("features")(x)
    alone = kp.models.HiddenOutputs(
        keras.Model(model.model.inputs, model.model.get_layer("features").output), []
    )
    alone.compile(keras.optimizers.SGD(0.0), loss if not isinstance(loss, kp.losses.Center) else None)
    logs = model.fit(x, y, sample_weight=weights, batch_size=len(x), verbose=0).history
    if isinstance(loss, kp.losses.Center):
        values = np.sum(keras.ops.convert_to_numpy(hidden) ** 2, axis=1) / 2
        expected = np.mean(weights["who"] * values)
    else:
        plain = alone.evaluate(x, y["who"], sample_weight=weights["who"], batch_size=len(x), verbose=0)
        expected = plain[0] if isinstance(plain, list) else plain
    assert logs["features_loss"][0] == pytest.approx(0.5 * float(expected), rel=1e-4)


def test_a_target_that_nothing_has():
    model, x, y = two_heads()
    model.compile("sgd", HEADS, hidden_losses={"features": "mse"}, hidden_targets={"features": "height"})
    message = (
        r"`hidden_targets\['features'\]` is 'height', which is neither a key of `y` nor an input.*"
        r"`y` has 2: '\w+', '\w+'; the outputs are"
    )
    with pytest.raises(ValueError, match=f"(?s){message}"):
        model.fit(x, y, verbose=0)


@pytest.mark.parametrize("run", ["fit", "evaluate"])
def test_one_weight_and_metrics_of_a_hidden_tensor(run):
    model, x, y = two_heads()
    model.compile(
        keras.optimizers.SGD(0.0),
        HEADS,
        hidden_losses={"features": "mse"},
        hidden_targets={"features": "code"},  # no output, so that the weight is the one of all
        hidden_metrics={"features": "mae"},
        hidden_weighted_metrics={"features": "mse"},
    )
    y["code"] = np.ones((len(x), 4), "float32")
    weights = np.linspace(0.1, 1.0, len(x)).astype("float32")
    hidden = keras.ops.convert_to_numpy(model.model.get_layer("features")(x))
    if run == "fit":
        logs = {k: v[0] for k, v in model.fit(x, y, sample_weight=weights, verbose=0).history.items()}
    else:
        logs = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    errors = np.mean((hidden - 1) ** 2, axis=1)
    assert logs["features_loss"] == pytest.approx(np.mean(weights * errors), rel=1e-5)
    assert logs["features_mse"] == pytest.approx(np.sum(weights * errors) / np.sum(weights), rel=1e-5)
    assert logs["features_mae"] == pytest.approx(np.mean(np.abs(hidden - 1)), rel=1e-5)


@pytest.mark.parametrize("run", ["fit", "evaluate"])
def test_one_weight_for_two_heads(run):
    """Keras copies it for each output. Several arrays are refused: it is unknown which one is meant."""
    model, x, y = two_heads()
    model.compile(keras.optimizers.SGD(0.0), HEADS, hidden_losses={"features": squares})
    weights = np.linspace(0.1, 1.0, len(x)).astype("float32")
    hidden = keras.ops.convert_to_numpy(model.model.get_layer("features")(x))
    expected = np.mean(weights * np.sum(hidden**2, axis=1))

    def logs(*data, **options):
        if run == "evaluate":
            return model.evaluate(*data, **options, verbose=0, return_dict=True)["features_loss"]
        return model.fit(*data, **options, verbose=0).history["features_loss"][0]

    for _ in range(2):  # a step that was compiled for one kind of weights is not used for another
        assert logs(x, y, sample_weight=weights) == pytest.approx(expected, rel=1e-5)
        assert logs(OneBatch(x, y, weights)) == pytest.approx(expected, rel=1e-5)
        for several in ({"who": weights, "age": weights**2}, dict.fromkeys(y, weights)):
            message = r"(?s)`hidden_losses\['features'\]`. Received: 2 arrays.*hidden_targets={'features': '"
            with pytest.raises(ValueError, match=message):
                logs(x, y, sample_weight=several)
            with pytest.raises(ValueError, match=message):
                logs(OneBatch(x, y, several))
    each = {"who": weights, "age": weights**2}
    model.compile(
        keras.optimizers.SGD(0.0),
        HEADS,
        hidden_losses={"features": squares},
        hidden_targets={"features": "age"},
    )
    expected = np.mean(weights**2 * np.sum(hidden**2, axis=1))
    assert logs(x, y, sample_weight=each) == pytest.approx(expected, rel=1e-5)


class TwoHeads(keras.Model):
    """A subclassed model, whose outputs have no names but in the dict that it returns."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.features = keras.layers.Dense(4, name="features")
        self.who, self.age = keras.layers.Dense(3, "softmax"), keras.layers.Dense(1)

    def call(self, x):
        h = self.features(x["picture"])
        return {"who": self.who(h), "age": self.age(h)}


def test_labels_and_inputs_of_a_subclassed_model():
    x = {"picture": data()[0]}
    rows = len(x["picture"])
    y = {
        "who": np.arange(rows) % 3,
        "age": np.ones((rows, 1), "float32"),
        "code": np.ones((rows, 4), "float32"),
    }
    inner = TwoHeads()
    inner(x)
    model = kp.models.HiddenOutputs(inner, hidden={"a": "features", "b": "features", "c": "features"})
    model.compile(
        "sgd",
        HEADS,
        hidden_losses={"a": "mse", "b": kp.losses.Center(3)},
        hidden_targets={"a": "code", "b": "who", "c": "code"},
        hidden_metrics={"c": "mae"},
    )
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    hidden = keras.ops.convert_to_numpy(inner.features(x["picture"]))
    assert logs["a_loss"] == pytest.approx(np.mean((hidden - 1) ** 2), rel=1e-5)
    assert logs["b_loss"] == pytest.approx(np.mean(np.sum(hidden**2, axis=1)) / 2, rel=1e-5)
    assert logs["c_mae"] == pytest.approx(np.mean(np.abs(hidden - 1)), rel=1e-5)
    model.fit(x, y, verbose=0)


def test_several_weights_and_an_input_as_target():
    model, x, y = two_heads()
    code = keras.layers.Dense(3, name="again")(model.model.get_layer("features").output)
    outputs = dict(zip(["who", "age"], model.model.outputs, strict=True))
    outputs["code"] = keras.layers.Dense(1, name="code")(code)
    model = kp.models.HiddenOutputs(keras.Model(model.model.inputs, outputs), hidden=["again"])
    model.compile("sgd", hidden_losses={"again": "mse"}, hidden_targets={"again": "x"})
    weights = dict.fromkeys(["who", "age"], np.ones(len(x), "float32"))
    message = (
        r"`sample_weight` has no array for 'x', the target of `hidden_losses\['again'\]`. "
        r"Received: 2 arrays, for '\w+', '\w+'. Pass one array"
    )
    with pytest.raises(ValueError, match=message):
        model.fit(x, y, sample_weight=weights, verbose=0)


def test_an_input_is_reconstructed_without_labels():
    start = keras.Input((3,), name="picture")
    h = keras.layers.Dense(2, "tanh")(start)
    model = keras.Model(start, keras.layers.Dense(1)(keras.layers.Dense(3, name="again")(h)))
    model = kp.models.HiddenOutputs(model, hidden=["again"])
    model.compile(
        keras.optimizers.Adam(0.05), hidden_losses={"again": "mse"}, hidden_targets={"again": "picture"}
    )
    losses = model.fit(data()[0], epochs=3, verbose=0).history["again_loss"]
    assert losses[2] < losses[0]


@pytest.mark.parametrize("weights", [{"who": 1, "age": None}, {"who": 1}], ids=["None", "left out"])
def test_the_weights_of_one_head_are_not_those_of_all_labels(weights):
    model, x, y = two_heads()
    model.compile("sgd", HEADS, hidden_losses={"features": squares}, run_eagerly=True)
    weights = {name: one and np.ones(len(x), "float32") for name, one in weights.items()}
    with pytest.raises((ValueError, KeyError), match="Received: 1 array, for 'who'|age"):
        model.train_on_batch(x, y, sample_weight=weights)
