"""A model that one backend saves gives the same numbers on the others."""

import importlib.util
import json

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.support.helpers import BACKEND, fresh_process

OTHERS = [name for name in ("tensorflow", "jax", "torch") if name != BACKEND]

LOAD = """
import json, keras, numpy as np
import keras_penalties
model = keras.saving.load_model({path!r})
x, y = (np.load({path!r} + name) for name in ("x.npy", "y.npy"))
logs = [model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)]
model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
history = model.fit(x, y, batch_size=4, shuffle=False, epochs=2, verbose=0).history
logs.append({{key: values[-1] for key, values in history.items()}})
print(keras.backend.backend(), json.dumps([{{k: float(v) for k, v in log.items()}} for log in logs]))
"""


def network():
    """A masked sequence model, penalized by layers, by arguments and by a penalty of Keras."""
    inputs = keras.Input((None, 3))
    h = keras.layers.Masking()(inputs)
    h = keras.layers.Dense(5, activation="tanh", activity_regularizer=kp.regularizers.L2(0.05))(h)
    h = kp.layers.ActivityPenalty([kp.regularizers.DeCov(0.3), kp.regularizers.L1(0.1)], name="both")(h)
    h = keras.layers.LSTM(4, activation="sigmoid")(h)
    h = kp.layers.ActivityPenalty(kp.regularizers.KLSparsity(0.2), name="sparse")(h)
    h = kp.layers.ActivityPenalty("l2", name="of_keras")(h)
    return keras.Model(inputs, keras.layers.Dense(1)(h))


@pytest.fixture
def saved(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 6, 3)).astype("float32"), rng.normal(size=(10, 1)).astype("float32")
    x[:, 4:], x[3, 1:] = 0.0, 0.0
    model = network()
    model.set_weights([rng.normal(size=w.shape) * 0.7 for w in model.get_weights()])
    model.compile(optimizer=keras.optimizers.SGD(0.1, momentum=0.9), loss="mse", metrics=["mae"])
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    path = str(tmp_path / "model.keras")
    model.save(path)
    for name, array in (("x.npy", x), ("y.npy", y)):
        np.save(path + name, array)
    logs = [model.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)]
    # A new optimizer: the one that Keras saves on torch trains with torch alone.
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", metrics=["mae"])
    history = model.fit(x, y, batch_size=4, shuffle=False, epochs=2, verbose=0).history
    return path, [*logs, {key: values[-1] for key, values in history.items()}]


def test_same_losses_on_the_other_backends(saved):
    path, ours = saved
    others = [name for name in OTHERS if importlib.util.find_spec(name)]
    if not others:
        pytest.skip("no other backend is installed")
    for other in others:
        backend, printed = fresh_process(LOAD.format(path=path), backend=other).splitlines()[-1].split(" ", 1)
        assert backend == other
        for mine, theirs in zip(ours, json.loads(printed), strict=True):
            assert set(theirs) == set(mine) == {"loss", "mae", "both", "sparse", "of_keras"}
            for key, value in mine.items():
                np.testing.assert_allclose(
                    theirs[key], value, rtol=1e-4, atol=1e-5, err_msg=f"{key} on {other}"
                )


TRAIN_ON = """
import json, keras, numpy as np
import keras_penalties
data = np.load({folder!r} + "/data.npz")
found = {{}}
for name in {names!r}:
    model = keras.saving.load_model({folder!r} + f"/{{name}}.keras")
    x = [data[f"{{name}}_x{{i}}"] for i in range(2 if name == "siamese" else 1)]
    options = {{"batch_size": 4, "shuffle": False, "epochs": 2, "verbose": 0}}
    history = model.fit(x if len(x) > 1 else x[0], data[f"{{name}}_y"], **options).history
    found[name] = {{key: [float(v) for v in values] for key, values in history.items()}}
print(keras.backend.backend(), json.dumps(found))
"""


def compiled_models():
    """Models that write their own configuration of `compile`, by name, each with inputs and labels."""

    def encoder(units, **options):
        return keras.Sequential([keras.Input((3,)), keras.layers.Dense(units, name="h", **options)])

    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 3)).astype("float32")
    model = kp.models.HiddenOutputs(encoder(2), hidden=["h"])
    schedule = keras.optimizers.schedules.ExponentialDecay(0.05, 3, 0.9)
    hidden = {"h": kp.regularizers.L2(0.1)}
    model.compile(keras.optimizers.Adam(schedule), "mse", metrics=["mae"], hidden_losses=hidden)
    yield "hidden", model, [x], x[:, :2]
    model = kp.models.Siamese(encoder(2))
    model.compile(keras.optimizers.RMSprop(0.01), kp.losses.Contrastive())
    yield "siamese", model, [x, x[::-1].copy()], np.array([0.0, 1.0] * 4, "float32")
    classifier = encoder(3, activation="softmax")
    classifier.compile("adamw", "mse")  # an optimizer of its own, inside the file
    model = kp.models.AntiPiracy(classifier, kp.layers.UniversalPerturbation(0.5))
    model.compile(keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1, momentum=0.9)))
    yield "piracy", model, [x], np.arange(8) % 3


def test_models_of_models_train_on_elsewhere(tmp_path):
    others = [name for name in OTHERS if importlib.util.find_spec(name)]
    if not others:
        pytest.skip("no other backend is installed")
    arrays, ours = {}, {}
    for name, model, x, y in compiled_models():
        options = {"batch_size": 4, "shuffle": False, "verbose": 0}
        given = x if len(x) > 1 else x[0]
        model.fit(given, y, **options)
        model.save(tmp_path / f"{name}.keras")
        ours[name] = model.fit(given, y, epochs=2, **options).history
        arrays |= {f"{name}_y": y, **{f"{name}_x{i}": a for i, a in enumerate(x)}}
    np.savez(tmp_path / "data.npz", **arrays)
    for other in others:
        code = TRAIN_ON.format(folder=str(tmp_path), names=list(ours))
        backend, printed = fresh_process(code, backend=other).splitlines()[-1].split(" ", 1)
        assert backend == other
        for name, logs in json.loads(printed).items():
            assert set(logs) == set(ours[name])
            for key, values in logs.items():
                np.testing.assert_allclose(
                    values, ours[name][key], rtol=2e-4, atol=1e-5, err_msg=f"{name}: {key} on {other}"
                )
