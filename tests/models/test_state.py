"""What compiled terms learn and keep: centres, projections, parts in the logs."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.support import references_pairs as references
from tests.support.helpers import fresh_process

R = kp.regularizers


def network(classes=3):
    start = keras.Input((4,))
    h = layers.Dense(5, activation="tanh", name="hidden")(start)
    g = layers.Dense(2, name="code")(h)
    return keras.Model(start, layers.Dense(classes, activation="softmax", name="head")(g))


def data(rows=10, classes=3, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, 4)).astype("float32"), random.integers(0, classes, size=rows)


def compiled(hidden_losses, rate=0.0, **options):
    model = kp.models.HiddenOutputs(network(), hidden=["hidden", "code"])
    model.compile(
        keras.optimizers.SGD(rate), "sparse_categorical_crossentropy", hidden_losses=hidden_losses, **options
    )
    return model


def codes(model, x):
    return keras.Model(model.model.input, model.model.get_layer("code").output).predict(x, verbose=0)


class Centres:
    """The centres as the paper moves them, one class and one row after the other, in float64."""

    def __init__(self, classes, features, rate):
        self.rows, self.rate = np.zeros((classes, features)), rate

    def loss(self, x, y):
        return np.array([0.5 * np.sum((row - self.rows[c]) ** 2) for row, c in zip(x, y, strict=True)])

    def move(self, x, y, weights=None):
        weights = np.ones(len(x)) if weights is None else weights
        for c in range(len(self.rows)):
            of_class = [row for row, label, w in zip(x, y, weights, strict=True) if label == c and w > 0]
            difference = sum((self.rows[c] - row for row in of_class), np.zeros(self.rows.shape[1]))
            self.rows[c] = self.rows[c] - self.rate * difference / (1 + len(of_class))


@pytest.mark.parametrize("one_hot", [False, True])
def test_centres_move_as_in_the_paper(one_hot):
    model, (x, y) = compiled({"code": kp.losses.Center(3, rate=0.4)}), data()
    if one_hot:
        model.compile(
            keras.optimizers.SGD(0.0),
            "categorical_crossentropy",
            hidden_losses={"code": kp.losses.Center(3, rate=0.4)},
        )
    h, centres, total = codes(model, x).astype("float64"), Centres(3, 2, 0.4), 0.0
    labels = np.eye(3, dtype="float32")[y] if one_hot else y
    logs = model.fit(x, labels, batch_size=4, shuffle=False, verbose=0).history
    for i in range(0, len(x), 4):
        total += np.sum(centres.loss(h[i : i + 4], y[i : i + 4]))
        centres.move(h[i : i + 4], y[i : i + 4])
    np.testing.assert_allclose(logs["code_loss"], [total / len(x)], rtol=1e-5)
    (kept,) = [w for w in model.non_trainable_weights if w.shape == (3, 2)]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kept), centres.rows, rtol=1e-5, atol=1e-7)
    before = model.evaluate(x, labels, verbose=0, return_dict=True)
    np.testing.assert_allclose(before["code_loss"], np.mean(centres.loss(h, y)), rtol=1e-5)
    assert model.evaluate(x, labels, verbose=0, return_dict=True) == before


def test_weights_of_examples_and_of_the_term():
    model, (x, y) = compiled({"code": kp.losses.Center(3)}, hidden_loss_weights={"code": 0.25}), data(6)
    weights = np.array([1.0, 0.0, 2.0, 0.5, 0.0, 1.0])
    h, centres = codes(model, x).astype("float64"), Centres(3, 2, 0.5)
    logs = model.fit(x, y, sample_weight=weights, batch_size=6, verbose=0, shuffle=False).history
    np.testing.assert_allclose(logs["code_loss"], [0.25 * np.mean(weights * centres.loss(h, y))], rtol=1e-5)
    centres.move(h, y, weights)
    (kept,) = [w for w in model.non_trainable_weights if w.shape == (3, 2)]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kept), centres.rows, rtol=1e-5, atol=1e-7)


def test_the_gradient_goes_into_the_layer_alone():
    model, (x, y) = compiled({"code": kp.losses.Center(3)}, rate=0.1), data(6)
    plain = compiled({}, rate=0.1)
    plain.model.set_weights(model.model.get_weights())
    head = model.model.get_layer("head")
    for m in (model, plain):
        m.fit(x, y, batch_size=6, verbose=0, shuffle=False)
    for a, b in zip(head.get_weights(), plain.model.get_layer("head").get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    code = [m.model.get_layer("code").get_weights()[0] for m in (model, plain)]
    assert np.abs(code[0] - code[1]).max() > 1e-4


STATEFUL = """
import keras, numpy as np
import keras_penalties as kp
from tests.models.test_state import compiled, data
losses = {"code": kp.losses.Center(3), ("hidden", "code"): kp.regularizers.Hint(0.1, projection=True)}
"""


@pytest.mark.slow
def test_saved_loaded_and_trained_on(tmp_path):
    path = str(tmp_path / "model.keras")
    printed = [
        fresh_process(STATEFUL + code + "print(model.evaluate(*data(), verbose=0, return_dict=True))")
        for code in (
            f"model = compiled(losses, 0.1); model.fit(*data(), batch_size=4, verbose=0)\n"
            f"model.save({path!r})\n",
            f"model = keras.saving.load_model({path!r})\n",
        )
    ]
    assert printed[0].splitlines()[-1] == printed[1].splitlines()[-1]
    assert "code_loss" in printed[0]


def test_a_projection_is_learned_and_equals_the_formula():
    penalty = R.Hint(0.5, projection=True)
    model, (x, y) = compiled({("code", "hidden"): penalty}, rate=0.1), data()
    kernel, bias = (w for w in model.trainable_weights if w.path.startswith("code_hidden_loss"))
    assert (tuple(kernel.shape), tuple(bias.shape)) == ((2, 5), (5,))
    inner = keras.Model(model.model.input, [model.model.get_layer(n).output for n in ("code", "hidden")])
    student, teacher = inner.predict(x, verbose=0)
    to_numpy = keras.ops.convert_to_numpy
    expected = 0.5 * references.hint([student @ to_numpy(kernel) + to_numpy(bias), teacher], (None, None))
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["code_hidden_loss"], expected, rtol=1e-5)
    before = to_numpy(kernel)
    history = model.fit(x, y, epochs=30, verbose=0).history["code_hidden_loss"]
    assert history[-1] < history[0]
    assert np.abs(to_numpy(kernel) - before).max() > 1e-3


def test_a_projection_by_layer(tmp_path):
    start = keras.Input((4,))
    student, teacher = layers.Dense(2, name="student")(start), layers.Dense(5, name="teacher")(start)
    layer = kp.layers.ActivityPenalty(R.Hint(0.5, projection=True), name="hint")
    model = keras.Model(start, layers.Dense(3)(layer([student, teacher])[0]))
    assert [tuple(w.shape) for w in layer.trainable_weights] == [(2, 5), (5,)]
    model.compile("sgd", "mse")
    x = data()[0]
    history = model.fit(x, np.zeros((10, 3)), epochs=30, verbose=0).history["hint"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(x, np.zeros((10, 3)), verbose=0) == model.evaluate(x, np.zeros((10, 3)), verbose=0)


def test_a_projection_needs_an_owner():
    with pytest.raises(ValueError, match="Hint learns weights"):
        R.Hint(1.0, projection=True).measure([np.ones((2, 3)), np.ones((2, 4))])
    with pytest.raises(ValueError, match="Hint compares the positions of its tensors"):
        kp.layers.ActivityPenalty(R.Hint(1.0, projection=True))([keras.Input((5, 2)), keras.Input((6, 2))])


@pytest.mark.parametrize("way", ["layer", "compiled"])
def test_the_terms_of_vicreg_are_shown_apart(way):
    x = data(8)[0]
    a, b = keras.Input((4,)), keras.Input((4,))
    penalty = R.VICReg(0.1)
    if way == "layer":
        u, v = kp.layers.ActivityPenalty(penalty, name="views")([a, b])
        model, key = keras.Model([a, b], layers.Add()([u, v])), "views"
        model.compile("sgd", "mse")
    else:
        u, v = layers.Identity(name="u")(a), layers.Identity(name="v")(b)
        model, key = keras.Model([a, b], layers.Add()([u, v])), "u_v_loss"
        model = kp.models.HiddenOutputs(model, hidden=["u", "v"])
        model.compile("sgd", "mse", hidden_losses={("u", "v"): penalty})
    other = x[::-1].copy()
    logs = model.evaluate([x, other], x, verbose=0, return_dict=True)
    options = {"invariance": 25.0, "variance": 25.0, "covariance": 1.0}
    for part in options:
        alone = {name: weight if name == part else 0.0 for name, weight in options.items()}
        expected = 0.1 * references.vicreg([x, other], (None, None), **alone)
        np.testing.assert_allclose(logs[f"{key}_{part}"], expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(logs[key], sum(logs[f"{key}_{part}"] for part in options), rtol=1e-5)


@pytest.mark.parametrize(
    "make, error, words",
    [
        (lambda: kp.losses.Center(0), ValueError, "`classes` of Center must be an int >= 1"),
        (lambda: kp.losses.Center(3.0), TypeError, "`classes` of Center must be an int >= 1"),
        (lambda: kp.losses.Center(3, rate=0.0), ValueError, "`rate` of Center must be a finite number > 0"),
        (lambda: kp.losses.Center(3)([0], [[1.0]]), TypeError, "Center has a state, which needs an owner"),
        (lambda: compiled({"code": kp.losses.Center(2)}).fit(*data()), ValueError, "classes from 0 to 2"),
        (
            lambda: kp.losses.Center(3)([0.0], np.ones((1, 2, 2)), centers=np.zeros((3, 2))),
            ValueError,
            "`y_pred` of Center must be embeddings",
        ),
    ],
)
def test_bad_input(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_center_loss_in_place_of_the_main_loss_is_refused():
    model = network()
    model.compile("sgd", kp.losses.Center(3))
    with pytest.raises(TypeError, match="Center has a state, which needs an owner"):
        model.fit(*data(), verbose=0)


def test_centres_in_half_precision_and_with_padded_rows():
    keras.config.set_dtype_policy("mixed_float16")
    start = keras.Input((4,))
    h = layers.Dense(2, name="code")(layers.Masking(mask_value=0.0)(start))
    model = keras.Model(start, layers.Dense(3, activation="softmax", dtype="float32")(h))
    model = kp.models.HiddenOutputs(model, hidden=["code"])
    model.compile(
        keras.optimizers.SGD(0.0),
        "sparse_categorical_crossentropy",
        hidden_losses={"code": kp.losses.Center(3, rate=0.4)},
    )
    model.model.get_layer("code").set_weights([300 * np.ones((4, 2)), np.zeros(2)])
    x, y = data(6)
    x[[1, 4]] = 0.0
    h = codes(model, x).astype("float64")
    centres = Centres(3, 2, 0.4)
    kept = np.any(x != 0, axis=-1)
    logs = model.fit(x, y, batch_size=6, shuffle=False, verbose=0).history
    np.testing.assert_allclose(logs["code_loss"], [np.mean(centres.loss(h[kept], y[kept]))], rtol=1e-3)
    centres.move(h, y, kept)
    (rows,) = [w for w in model.non_trainable_weights if w.shape == (3, 2)]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(rows), centres.rows, rtol=1e-3)
