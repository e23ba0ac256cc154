"""The three terms against NumPy, both kinds of key, logs, files, refusals."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.models.networks import set_weights

AntiPiracy = kp.models.AntiPiracy
TERMS = {"processed_loss", "raw_loss", "perturbation_loss"}
KEYS = {"loss", *TERMS, "processed_accuracy", "raw_accuracy"}


def classifier(activation="softmax", **dense):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation=activation, **dense)], name="c")
    return set_weights(model)


def generator():
    """One change a input, no larger than 0.5."""
    x = keras.Input((4,))
    change = layers.Rescaling(0.5)(layers.Dense(4, activation="tanh")(x))
    return set_weights(keras.Model(x, layers.Add()([x, change]), name="g"), seed=2)


def data(rows=9):
    random = np.random.RandomState(4)
    return random.rand(rows, 4).astype("float32"), random.randint(0, 3, rows)


def softmax(z):
    z = np.exp(z - z.max(axis=1, keepdims=True))
    return z / z.sum(axis=1, keepdims=True)


def expected(model, x, y, alpha, beta, gamma):
    kernel, bias = model.classifier.get_weights()
    processed = model.transform.predict(x, verbose=0)
    q_p, q_r = softmax(processed @ kernel + bias), softmax(x @ kernel + bias)
    rows = np.arange(len(x))
    return {
        "processed_loss": alpha * np.mean(-np.log(q_p[rows, y])),
        "raw_loss": beta * np.mean(q_r[rows, y]),
        "perturbation_loss": gamma * np.mean(np.sum((processed - x) ** 2, axis=1)),
        "processed_accuracy": np.mean(q_p.argmax(1) == y),
        "raw_accuracy": np.mean(q_r.argmax(1) == y),
    }


@pytest.mark.parametrize("make", [generator, lambda: kp.layers.UniversalPerturbation(0.5, initial=1.0)])
@pytest.mark.parametrize("one_hot", [False, True])
def test_terms_and_accuracies(make, one_hot):
    x, y = data()
    model = AntiPiracy(classifier(), make(), alpha=0.7, beta=1.3, gamma=0.2)
    model.compile(keras.optimizers.SGD(0.0))
    labels = np.eye(3, dtype="float32")[y] if one_hot else y
    terms = expected(model, x, y, 0.7, 1.3, 0.2)
    logs = model.evaluate(x, labels, batch_size=4, verbose=0, return_dict=True)
    history = model.fit(x, labels, batch_size=4, verbose=0).history
    for found in (logs, {key: values[0] for key, values in history.items()}):
        assert set(found) == KEYS
        for key, value in terms.items():
            assert float(found[key]) == pytest.approx(value, rel=1e-4), key
        assert float(found["loss"]) == pytest.approx(sum(terms[key] for key in TERMS), rel=1e-4)


def test_logits_and_another_raw_loss():
    x, y = data()
    raw_loss = kp.losses.LogConfusion(from_logits=True)
    model = AntiPiracy(classifier(None), generator(), from_logits=True, raw_loss=raw_loss)
    model.compile(keras.optimizers.SGD(0.0))
    kernel, bias = model.classifier.get_weights()
    q = softmax(x @ kernel + bias)[np.arange(len(x)), y]
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert float(logs["raw_loss"]) == pytest.approx(np.mean(-np.log(1 - q)), rel=1e-4)
    terms = expected(model, x, y, 1.0, 1.0, 0.1)
    assert float(logs["processed_loss"]) == pytest.approx(terms["processed_loss"], rel=1e-4)


def test_a_pattern_of_ones_own_is_not_measured(tmp_path):
    key = layers.Rescaling(1.0, offset=[0.5, -0.5, 0.25, 0.0])
    model = AntiPiracy(classifier(), key, gamma=0.0)
    model.compile("sgd")
    x, y = data()
    history = model.fit(x, y, verbose=0).history
    assert set(history) == (TERMS - {"perturbation_loss"}) | {"loss", "processed_accuracy", "raw_accuracy"}
    assert history["loss"][0] == pytest.approx(
        history["processed_loss"][0] + history["raw_loss"][0], rel=1e-5
    )
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    logs = [m.evaluate(x, y, verbose=0, return_dict=True) for m in (model, again)]
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)
    again.gamma = 0.1
    again.compile("sgd")
    logs = again.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["perturbation_loss"] == pytest.approx(0.1 * 0.5625, rel=1e-5)


def test_losses_inside_the_classifier_count_for_both_of_its_uses():
    x, y = data()
    model = AntiPiracy(classifier(activity_regularizer=kp.regularizers.L1(0.1)), generator())
    model.compile(keras.optimizers.SGD(0.0))
    logs = model.evaluate(x, y, batch_size=len(x), verbose=0, return_dict=True)
    assert float(logs["regularization_loss"]) == pytest.approx(0.2, rel=1e-5)  # rows of softmax sum to 1


def test_predicts_the_authorized_answer_and_saves_together_and_apart(tmp_path):
    x, y = data()
    model = AntiPiracy(classifier(), generator(), gamma=0.01)
    model.compile(keras.optimizers.Adam(0.02))
    model.fit(x, y, epochs=3, verbose=0)
    answer = model.classifier.predict(model.transform.predict(x, verbose=0), verbose=0)
    np.testing.assert_allclose(model.predict(x, verbose=0), answer, rtol=1e-5)
    model.save(tmp_path / "both.keras")
    again = keras.models.load_model(tmp_path / "both.keras")
    assert (again.alpha, again.beta, again.gamma, again.name) == (1.0, 1.0, 0.01, model.name)
    model.reset_metrics()  # before 3.15, Keras continues the means of `fit`
    one, two = (m.train_on_batch(x, y, return_dict=True) for m in (again, model))
    assert float(one["raw_loss"]) == pytest.approx(float(two["raw_loss"]), rel=1e-5)
    for part in ("classifier", "transform"):
        getattr(model, part).save(tmp_path / f"{part}.keras")
    alone = [keras.models.load_model(tmp_path / f"{part}.keras") for part in ("transform", "classifier")]
    for part in alone:
        x = part.predict(x, verbose=0)
    np.testing.assert_allclose(x, model.predict(data()[0], verbose=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alpha": -1.0}, ValueError, "`alpha` of AntiPiracy must be a finite number >= 0. Received.*-1.0"),
        ({"beta": float("nan")}, ValueError, "`beta`"),
        ({"gamma": "1"}, TypeError, "`gamma`.*of type str"),
        ({"value_range": (1.0, 0.0)}, ValueError, "`value_range` of AntiPiracy.*low < high"),
        (
            {"transform": layers.Dense(3)},
            ValueError,
            r"must return a tensor of its input's shape.*\(None, 3\) for \(None, 4\)",
        ),
        ({"raw_loss": "mse"}, TypeError, "`raw_loss` of AntiPiracy must be a loss of one-hot labels.*'mse'"),
        ({"transform": 3}, TypeError, "`transform` of AntiPiracy must be a layer.*of type int"),
        ({"classifier": layers.Dense(3)}, TypeError, "`classifier` of AntiPiracy must be a Keras model"),
    ],
)
def test_refusals(arguments, error, message):
    with pytest.raises(error, match=message):
        AntiPiracy(**{"classifier": classifier(), "transform": layers.Identity(), **arguments})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, np.eye(5)[y]), r"one per row, or one-hot rows. Received: shape \(9, 5\)"),
        (lambda x, y: (x, y + 3), "must hold classes from 0 to 2.*from 3 to"),
        (lambda x, y: (x, np.eye(3)[y] * 2), "`y` of AntiPiracy.fit must be between 0 and 1"),
        (lambda x, y: (x * 9, y), r"`x` of AntiPiracy must stay within value_range=\(0.0, 1.0\)"),
        (lambda x, y: (x, y), "`transform` of AntiPiracy must stay within"),
    ],
)
def test_the_first_batch_is_looked_at(change, message):
    model = AntiPiracy(classifier(), layers.Rescaling(3.0), value_range=(0.0, 1.0))
    model.compile("sgd")
    with pytest.raises(ValueError, match=message):
        model.fit(*change(*data()), verbose=0)


def test_logits_where_probabilities_are_expected():
    model = AntiPiracy(set_weights(classifier(None, kernel_initializer="ones")), layers.Identity())
    model.compile("sgd")
    with pytest.raises(ValueError, match="`classifier` of AntiPiracy must be between 0 and 1.*from_logits"):
        model.fit(*data(), verbose=0)


def test_it_brings_its_own_losses():
    with pytest.raises(ValueError, match="AntiPiracy.compile takes no `loss`"):
        AntiPiracy(classifier(), layers.Identity()).compile("sgd", loss="mse")


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_activity_regularizers_of_keras_in_half_precision(precision):
    keras.config.set_dtype_policy(precision)
    model = AntiPiracy(classifier(activity_regularizer=keras.regularizers.L2(0.1)), generator())
    model.compile(keras.optimizers.SGD(0.1))
    history = model.fit(*data(), batch_size=9, verbose=0).history
    assert history["regularization_loss"][0] > 0
    parts = (*TERMS, "regularization_loss")
    assert history["loss"][0] == pytest.approx(sum(history[key][0] for key in parts), rel=1e-2)
