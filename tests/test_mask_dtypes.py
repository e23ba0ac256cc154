"""A mask of any dtype gives the same value and the same counts: whatever is not zero counts."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.support.helpers import to_numpy

IDS = np.array([[3, 1, 2, 0, 0], [1, -1, 0, 0, 0], [2, 3, 1, 2, 1], [0, 0, 0, 0, 0]])
COUNTED = IDS != 0
STEPS = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
MASKS = {
    "bool": COUNTED,
    "int8": IDS.astype("int8"),
    "int32": 100 * IDS.astype("int32"),
    "float32": 0.3 * IDS.astype("float32"),
}


@keras.saving.register_keras_serializable("tests")
class First(layers.Layer):
    """Returns its first input: Keras 3.12 wants every input of a model to be used."""

    def __init__(self, **kwargs):
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        return inputs[0]


@keras.saving.register_keras_serializable("tests")
class Marked(First):
    """Returns `steps`, and keeps `ids` with them as a mask of any dtype."""

    def compute_mask(self, inputs, previous_mask=None):
        return inputs[1]


@keras.saving.register_keras_serializable("tests")
class Absolute(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_pred), axis=-1)


def absolute(y_true, hidden):
    return ops.mean(ops.abs(hidden), axis=-1)


def network(dtype, kind="plain"):
    steps = keras.Input((5, 3), name="steps")
    ids = keras.Input((5,), name="ids", dtype=dtype)
    h = Marked(name="marked")([steps, ids]) if kind == "mask of Keras" else steps
    h = layers.Dense(2, name="h")(h)
    if kind == "layer":
        h = kp.layers.ActivityPenalty(kp.regularizers.L2(1.0), name="quiet")(h, mask=ids)
    out = layers.Dense(1, name="out")(h)
    return keras.Model({"steps": steps, "ids": ids}, First()([out, ids]) if kind == "plain" else out)


def compiled(model, **options):
    model.compile(keras.optimizers.SGD(0.0), **options)
    return model


def by_name(dtype, penalty=None, **options):
    penalty = kp.regularizers.L2(1.0) if penalty is None else penalty
    return compiled(kp.penalize(network(dtype), {"h": penalty}, **options))


def by_loss(dtype, loss):
    wrapped = kp.models.HiddenOutputs(network(dtype), hidden=["h"], mask_from="ids")
    return compiled(wrapped, loss=None, hidden_losses={"h": loss})


def l2_of(h):
    return np.sum(np.where(COUNTED[..., None], h, 0.0) ** 2) / np.sum(COUNTED.any(axis=1))


def mean_of(h):
    return np.abs(h).mean(axis=-1)[COUNTED].mean()


WAYS = {
    "ActivityPenalty": (lambda dtype: compiled(network(dtype, "layer")), l2_of),
    "penalize": (lambda dtype: by_name(dtype, mask_from="ids"), l2_of),
    "regularizer of Keras": (
        lambda dtype: by_name(dtype, keras.regularizers.L2(1.0), mask_from="ids"),
        lambda h: np.sum(np.where(COUNTED[..., None], h, 0.0) ** 2) / 4,
    ),
    "mask of Keras": (
        lambda dtype: compiled(kp.penalize(network(dtype, "mask of Keras"), {"h": kp.regularizers.L2(1.0)})),
        l2_of,
    ),
    "hidden penalty": (lambda dtype: by_loss(dtype, kp.regularizers.L2(1.0)), l2_of),
    "hidden loss": (lambda dtype: by_loss(dtype, Absolute()), mean_of),
    "hidden function": (lambda dtype: by_loss(dtype, absolute), mean_of),
}


@pytest.mark.parametrize("way", WAYS)
def test_value_and_counts(way):
    make, formula = WAYS[way]
    for dtype, mask in MASKS.items():
        model = make(dtype)
        audit = kp.audit(model, {"steps": STEPS, "ids": mask}, np.zeros((4, 5, 1), "float32"))
        (record,) = audit.records
        weights = next(layer for layer in model._flatten_layers() if layer.name == "h").get_weights()
        expected = formula(STEPS.astype("float64") @ weights[0] + weights[1])
        np.testing.assert_allclose(record["value"], expected, rtol=1e-5, err_msg=dtype)
        dropped = 2 * int(np.sum(~COUNTED))
        assert (record["elements"], record["masked"]) == (40 - dropped, dropped), dtype
        (values,) = audit.activations().values()
        assert values.shape == (40 - dropped,)


@pytest.mark.parametrize("dtype", MASKS)
def test_padding_in_an_argument(dtype):
    """Keras passes an `activity_regularizer=` no mask; the audit counts what the mask would drop."""
    model = network(dtype, "mask of Keras")
    model.get_layer("h").activity_regularizer = kp.regularizers.L2(1.0)
    data = {"steps": STEPS, "ids": MASKS[dtype]}
    (record,) = kp.audit(compiled(model), data).records
    assert record["verdict"] == "counts padding"
    assert f"{2 * np.sum(~COUNTED)} of 40 elements are padding" in record["why"][0]


# By form: the shape of the tensor, that of the mask, and a penalty.
FORMS = {
    "examples": ((4, 5, 3), (4,), kp.regularizers.L2(1.0)),
    "steps": ((4, 5, 3), (4, 5), kp.regularizers.L1(1.0)),
    "positions": ((4, 2, 5, 3), (4, 2, 5), kp.regularizers.DeCov(1.0)),
    "with an axis for the features": ((4, 5, 3), (4, 5, 1), kp.regularizers.DeCov(1.0)),
    "scores": ((4, 2, 5, 3), (4, 1, 5, 3), kp.regularizers.L2(1.0)),
    "keys": ((4, 2, 5, 3), (4, 1, 1, 3), kp.regularizers.L2(1.0)),
    "features first": ((4, 3, 5), (4, 5), kp.regularizers.DeCov(1.0, axis=1)),
    "values between 0 and 1": ((4, 2, 5, 3), (4, 2, 5), kp.regularizers.KLSparsity(0.3)),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    shape, mask_shape, penalty = FORMS[form]
    rng = np.random.default_rng(1)
    x = rng.uniform(0.1, 0.9, shape).astype("float32")
    counted = rng.random(mask_shape) < 0.6
    ids = np.where(counted, rng.integers(1, 9, mask_shape), 0)
    whole = counted
    if len(mask_shape) < len(shape):
        whole = counted.reshape(mask_shape + (1,) * (len(shape) - len(mask_shape)))
        whole = np.moveaxis(whole, -1, 1) if form == "features first" else whole
    whole = np.broadcast_to(whole, shape)
    expected = to_numpy(penalty.measure(x, counted))
    for dtype in MASKS:
        mask = (counted if dtype == "bool" else 0.3 * ids if dtype == "float32" else ids).astype(dtype)
        np.testing.assert_array_equal(to_numpy(penalty.measure(x, mask)), expected)
        if dtype in ("int8", "float32"):
            continue
        inputs = keras.Input(shape[1:], name="x"), keras.Input(mask_shape[1:], name="ids", dtype=dtype)
        h = kp.layers.ActivityPenalty(penalty, name="quiet")(inputs[0], mask=inputs[1])
        model = compiled(keras.Model(dict(zip(("x", "ids"), inputs, strict=True)), layers.Flatten()(h)))
        audit = kp.audit(model, {"x": x, "ids": mask})
        (record,) = audit.records
        np.testing.assert_allclose(record["measure"], expected, rtol=1e-6)
        assert (record["elements"], record["masked"]) == (np.sum(whole), np.sum(~whole))
        np.testing.assert_array_equal(np.sort(audit.activations()["quiet"]), np.sort(x[whole]))


@pytest.mark.parametrize("dtype", MASKS)
def test_one_mask_per_tensor(dtype):
    rows, kept = STEPS[:, 0], COUNTED[:, :2]
    penalty = kp.regularizers.CORAL(1.0)
    masks = [MASKS[dtype][:, 0], MASKS[dtype][:, 1]]
    found, expected = (to_numpy(penalty.measure([rows, rows], m)) for m in (masks, [kept[:, 0], kept[:, 1]]))
    np.testing.assert_array_equal(found, expected)
