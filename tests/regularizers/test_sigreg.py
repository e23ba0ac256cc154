"""`SIGReg`: its directions, which change with each step, and what it does to a batch."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from keras_penalties import _random
from tests.models.networks import set_weights
from tests.support import references_collapse as references
from tests.support.helpers import fresh_process, to_numpy

R = kp.regularizers
X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")


def model_of(penalty, way="layer"):
    start = keras.Input((3,))
    hidden = keras.layers.Dense(3, kernel_initializer="identity", name="hidden")(start)
    if way == "layer":
        hidden = kp.layers.ActivityPenalty(penalty, name="hidden_loss")(hidden)
    model = keras.Model(start, keras.layers.Dense(1, name="head")(hidden))
    options = {}
    if way == "compiled":
        model = kp.models.HiddenOutputs(model, hidden=["hidden"])
        options = {"hidden_losses": {"hidden": penalty}}
    model.compile(keras.optimizers.SGD(0.0), "mse", **options)
    return model


def fit(model, epochs=3, **options):
    y = np.zeros((16, 1), "float32")
    return model.fit(X, y, batch_size=16, epochs=epochs, verbose=0, **options).history["hidden_loss"]


def expected(step, **options):
    return 0.1 * references.sigreg(X, step=step, **options)


@pytest.mark.parametrize("way", ["layer", "compiled"])
def test_each_training_step_has_directions_of_its_own(way):
    model = model_of(R.SIGReg(0.1, slices=4), way)
    found = fit(model)
    np.testing.assert_allclose(found, [expected(step, slices=4) for step in range(3)], rtol=1e-4)
    y = np.zeros((16, 1), "float32")
    for _ in range(2):  # evaluation counts no step
        logs = model.evaluate(X, y, batch_size=16, verbose=0, return_dict=True)
        np.testing.assert_allclose(logs["hidden_loss"], expected(3, slices=4), rtol=1e-4)


def test_the_step_is_saved(tmp_path):
    model = model_of(R.SIGReg(0.1, slices=4))
    fit(model, 2)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(fit(again, 1), expected(2, slices=4), rtol=1e-4)


def test_warns_if_training_does_not_reach_it():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)
            self.penalty = kp.layers.ActivityPenalty(R.SIGReg(0.1, slices=4), name="normal")

        def call(self, x):
            return self.penalty(self.dense(x), training=False)

    model = Model()
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="`training` does not reach .*so it counts no step"):
        model.fit(X, X, verbose=0)


def test_with_a_schedule_the_steps_are_counted_once():
    penalty = R.SIGReg(keras.optimizers.schedules.PolynomialDecay(0.0, 10, 0.1), slices=4)
    found = fit(model_of(penalty), 4)
    np.testing.assert_allclose(found[3], 0.3 * expected(3, slices=4), rtol=1e-4)


def test_another_seed_gives_other_directions():
    found = [float(R.SIGReg(1.0, slices=4, seed=seed).measure(X)) for seed in (0, 1, -1, 2**31 + 5)]
    assert len(set(found)) == 4


def test_directions_are_spread_evenly():
    """On 1,024 directions of 8 features: the mean and the second moments are those of a sphere."""
    a = to_numpy(_random.normal((8, 1024), 0, 5, "float32"))
    np.testing.assert_allclose(a, _normal(8, 1024, step=5), atol=1e-4)
    assert abs(a.mean()) < 0.03 and abs(a.std() - 1.0) < 0.03
    a = a / np.linalg.norm(a, axis=0)
    np.testing.assert_allclose(8.0 * a @ a.T / 1024, np.eye(8), atol=0.2)
    other = to_numpy(_random.normal((8, 1024), 0, 6, "float32"))
    assert abs(np.corrcoef(a.ravel(), other.ravel())[0, 1]) < 0.04


def _normal(features, count, step):
    units = references.directions(features, count, step=step)
    lengths = np.linalg.norm(to_numpy(_random.normal((features, count), 0, step, "float32")), axis=0)
    return units * lengths


def test_a_normal_batch_measures_about_1_and_a_collapsed_one_grows_with_its_rows():
    x, penalty = np.random.default_rng(0).normal(size=(512, 8)), R.SIGReg(1.0, slices=256)
    assert 0.5 < float(penalty.measure(x)) < 1.5
    collapsed = [float(penalty.measure(0.0 * x[:rows])) for rows in (64, 512)]
    np.testing.assert_allclose(collapsed[1], 8.0 * collapsed[0], rtol=1e-5)
    assert collapsed[0] > 20.0


def test_training_makes_a_batch_normal():
    x = np.random.default_rng(0).uniform(size=(256, 4)).astype("float32")
    start = keras.Input((4,))
    code = kp.layers.ActivityPenalty(R.SIGReg(1.0, slices=64))(keras.layers.Dense(2, name="code")(start))
    model = set_weights(keras.Model(start, code))  # the same on each backend
    model.compile(keras.optimizers.Adam(0.05))
    model.fit(x, batch_size=256, epochs=150, verbose=0)
    covariance = np.cov(model.predict(x, verbose=0).T)
    np.testing.assert_allclose(covariance, np.eye(2), atol=0.25)


@pytest.mark.needs("torch")
def test_is_epps_pulley_of_the_authors():
    """`EppsPulley` of the authors' repository, given our directions."""
    import torch

    t = torch.linspace(0, 3, 17)
    phi, weights = torch.exp(-t.square() / 2), torch.full((17,), 2 * 3 / 16)
    weights[[0, -1]] = 3 / 16
    along = torch.tensor(X) @ torch.tensor(references.directions(3, 8).astype("float32"))
    phases = along.unsqueeze(-1) * t
    error = (phases.cos().mean(-3) - phi).square() + phases.sin().mean(-3).square()
    theirs = float((error @ (weights * phi) * len(X)).mean())
    np.testing.assert_allclose(float(R.SIGReg(1.0, slices=8).measure(X)), theirs, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.default_backend_only
@pytest.mark.needs("torch")
def test_is_one_number_on_another_backend():
    code = "import numpy as np, keras_penalties as kp\n"
    code += "x = np.linspace(-1, 1, 12).reshape(4, 3)\nprint(float(kp.regularizers.SIGReg(1.0).measure(x)))"
    x = np.linspace(-1, 1, 12).reshape(4, 3)
    ours = float(R.SIGReg(1.0).measure(x))
    np.testing.assert_allclose(float(fresh_process(code, backend="torch")), ours, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: R.SIGReg(1.0, slices=0), ValueError, "`slices` of SIGReg must be an int >= 1"),
        (lambda: R.SIGReg(1.0, knots=1), ValueError, "`knots` of SIGReg must be an int >= 2"),
        (lambda: R.SIGReg(1.0, t_max=0.0), ValueError, "`t_max` of SIGReg must be .*> 0"),
        (lambda: R.SIGReg(1.0, seed=0.5), TypeError, "`seed` of SIGReg must be an int"),
        (
            lambda: keras.layers.Dense(3, activity_regularizer=R.SIGReg(1.0))(X),
            TypeError,
            "SIGReg changes with each training step.*ActivityPenalty",
        ),
    ],
)
def test_arguments_that_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
