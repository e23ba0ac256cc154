"""Errors that shapes raise: before a step where arrays are given; and after one the model stays usable."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.models.networks import set_weights

ROWS = 6


@keras.saving.register_keras_serializable("tests")
def difference(y_true, hidden):
    return ops.mean(ops.square(y_true - hidden), axis=-1)


@keras.saving.register_keras_serializable("tests")
def joint_difference(y_true, y_pred, hidden):
    return ops.mean(ops.square(y_true - hidden["h"]), axis=-1)


@keras.saving.register_keras_serializable("tests")
def values_per_row(y_true, y_pred, hidden):
    return ops.mean(hidden["h"], axis=(1, 2))


def hidden_outputs(**terms):
    start = keras.Input((3,))
    hidden = layers.Dense(4, name="h")(start)
    model = set_weights(keras.Model(start, layers.Dense(4, name="out")(hidden)))
    model = kp.models.HiddenOutputs(model, hidden=["h"])
    model.compile("sgd", **terms)
    return model


def siamese():
    start = keras.Input((3,))
    model = kp.models.Siamese(set_weights(keras.Model(start, layers.Dense(2)(start))))
    model.compile("sgd", kp.losses.Contrastive())
    return model


def anti_piracy():
    classifier = keras.Sequential([keras.Input((3,)), layers.Dense(4, "softmax")])
    model = kp.models.AntiPiracy(set_weights(classifier), kp.layers.UniversalPerturbation(0.5))
    model.compile("sgd")
    return model


def inputs(rows=ROWS, of=None):
    x = np.random.RandomState(0).randn(rows, 3).astype("float32")
    return [x, x[::-1].copy()] if of is siamese else x


def labels(rows=ROWS, of=None, columns=4):
    if of is siamese:
        return np.zeros((rows, columns - 3), "float32")
    return np.eye(columns, dtype="float32")[np.arange(rows) % columns]


TERMS = {
    "function": {"hidden_losses": {"h": difference}},
    "name": {"hidden_losses": {"h": "mse"}},
    "joint": {"joint_loss": joint_difference},
    "center": {"hidden_losses": {"h": kp.losses.Center(4)}},
}


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
@pytest.mark.parametrize("term", sorted(TERMS))
def test_labels_of_another_shape_are_found_before_a_step(term, method, monkeypatch):
    model = hidden_outputs(**TERMS[term])
    wrong = labels()[..., None] if term == "center" else labels(columns=5)
    message = "`joint_loss`" if term == "joint" else r"`hidden_losses\['h'\]`"
    model.evaluate(inputs(), labels(), verbose=0)  # Keras looks at shapes once
    before = model.get_weights()
    steps = []
    for name in ("train_step", "test_step"):
        monkeypatch.setattr(model, name, lambda *a, **k: steps.append(a))
    model.train_function = model.test_function = None
    options = {"verbose": 0} if method in ("fit", "evaluate") else {}
    with pytest.raises(ValueError, match=f"{message} cannot be computed from labels of shape"):
        getattr(model, method)(inputs(), wrong, **options)
    assert not steps
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch"])
def test_a_wrong_number_of_labels(method):
    model = hidden_outputs(hidden_losses={"h": difference})
    with pytest.raises(ValueError, match="the same number of rows.*arrays of 6, 5 rows"):
        getattr(model, method)(inputs(), labels()[:5])


def test_validation_data_is_looked_at_too():
    model = hidden_outputs(hidden_losses={"h": "mse"})
    data = inputs(), labels(columns=5)
    with pytest.raises(ValueError, match="cannot be computed from labels of shape"):
        model.fit(inputs(), labels(), validation_data=data, verbose=0)


@pytest.mark.parametrize("make", [hidden_outputs, siamese, anti_piracy])
@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
@pytest.mark.parametrize("when", ["first", "later"])
def test_a_model_stays_usable_after_an_error_in_a_step(make, method, when):
    """On JAX `fit` takes the values out of the variables, and leaves them empty where a step raises."""
    model = make(**({"hidden_losses": {"h": difference}} if make is hidden_outputs else {}))
    x, y = inputs(of=make), labels(of=make)
    expected = model.predict(x, verbose=0)
    model.test_on_batch(x, y)
    if when == "later":
        model.train_on_batch(x, y)
        expected = model.predict(x, verbose=0)

    def batches():  # of tuples: TensorFlow makes tensors of lists
        as_tuple = tuple if make is siamese else np.asarray
        if when == "later":
            yield as_tuple(x), y
        yield as_tuple(inputs(4, of=make)), labels(4, of=make, columns=5)

    broken = {"steps_per_epoch": 2} if method == "fit" else {"steps": 2}
    model._first.check = lambda *args, **kwargs: None  # which would find it before
    words = "" if make is siamese else "hape|size|broadcast"  # which Keras words in its own way
    with pytest.raises(Exception, match=words):
        if method in ("fit", "evaluate"):
            getattr(model, method)(batches(), verbose=0, **broken)
        else:
            getattr(model, method)(inputs(4, of=make), labels(4, of=make, columns=5))
    if not (method == "fit" and when == "later"):  # one step of which was taken
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-6)
    first = model.evaluate(x, y, verbose=0, return_dict=True)
    history = model.fit(x, y, verbose=0).history
    for key, value in first.items():
        assert np.isfinite(value)
        assert history[key][0] == pytest.approx(value, rel=1e-4), key
    assert np.isfinite(model.evaluate(x, y, verbose=0, return_dict=True)["loss"])


@pytest.mark.backends("jax")
def test_the_weights_after_an_error_are_those_of_the_last_step():
    model, other = (hidden_outputs(hidden_losses={"h": difference}) for _ in range(2))

    def batches(broken):
        for _ in range(3):
            yield inputs(), labels()
        if broken:
            yield inputs(), labels(columns=5)

    with pytest.raises(ValueError, match="cannot be computed"):
        model.fit(batches(True), steps_per_epoch=4, verbose=0)
    other.fit(batches(False), steps_per_epoch=3, verbose=0)
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert int(model.optimizer.iterations.value) == 3


def test_values_per_example_of_a_masked_sequence():
    start = keras.Input((4, 3))
    hidden = layers.Dense(2, name="h")(layers.Masking()(start))
    model = kp.models.HiddenOutputs(keras.Model(start, layers.Dense(1)(hidden)), hidden=["h"])
    model.compile("sgd", joint_loss=values_per_row)
    message = (
        r"`joint_loss` cannot.*values of shape \(.*\), but the mask of the predictions has the shape.*scalar"
    )
    with pytest.raises(ValueError, match=message):
        model.evaluate(np.ones((5, 4, 3)), np.ones((5, 4, 1)), verbose=0)
