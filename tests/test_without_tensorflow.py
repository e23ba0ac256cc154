"""On JAX and PyTorch the package needs no TensorFlow."""

import json

import pytest

from tests.support.helpers import fresh_process

HIDDEN = """
import importlib.machinery, json
found = importlib.machinery.PathFinder.find_spec
def find_spec(name, *args, **kwargs):
    return None if name.partition(".")[0] == "tensorflow" else found(name, *args, **kwargs)
importlib.machinery.PathFinder.find_spec = find_spec
"""
TRAINING = """
import sys, keras, numpy as np
import keras_penalties as kp

R = kp.regularizers
x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
start = keras.Input((4,))
h = keras.layers.Dense(3, name="hidden")(start)
h = kp.layers.ActivityPenalty([R.DeCov(0.1), R.L1(kp.schedules.Target(0.1))], name="quiet")(h)
model = kp.penalize(keras.Model(start, keras.layers.Dense(4)(h)), {"hidden": R.L2(0.1)})
model = kp.models.HiddenOutputs(model, ["hidden"])
model.compile("sgd", "mse", hidden_losses={"hidden": R.Variance(0.1)})
model.fit(x, x, verbose=0)
model.save(FILE)
loaded = keras.models.load_model(FILE)
same = loaded.evaluate(x, x, verbose=0) == model.evaluate(x, x, verbose=0)
verdicts = sum(word in str(kp.audit(loaded, x, x)) for word in ("DeCov", "L1", "L2", "Variance"))
kp.strip(loaded.model)
pair = kp.models.Siamese(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
pair.compile("sgd", kp.losses.Contrastive())
pair.fit([x, x], np.ones(8), verbose=0)
print(json.dumps([same, verdicts, "tensorflow" in sys.modules]))
"""


@pytest.mark.backends("jax", "torch")
def test_trains_saves_and_audits_where_tensorflow_is_missing(tmp_path):
    code = f"{HIDDEN}\nFILE = {str(tmp_path / 'model.keras')!r}\n{TRAINING}"
    assert json.loads(fresh_process(code).splitlines()[-1]) == [True, 4, False]
