"""An exported model answers as before, and nothing of the penalty is left in it."""

import json

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.layers.networks import compiled, data, hidden_then_head
from tests.support.helpers import fresh_process

pytestmark = pytest.mark.default_backend_only

SERVE = """
import sys, json, numpy as np, tensorflow as tf
x = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
for path in {paths!r}:
    loaded = tf.saved_model.load(path)
    print(json.dumps({{
        "served": loaded.serve(x).numpy().tolist(),
        "variables": sorted(v.name for v in loaded.variables),
        "penalties": "keras_penalties" in sys.modules,
        "operations": [op.type for f in loaded.signatures.values() for op in f.graph.get_operations()],
    }}))
"""


def train(way):
    """Trained and evaluated, so that whatever it keeps of its penalties has been made."""
    model = compiled(hidden_then_head(kp.regularizers.DeCov(5.0), way), learning_rate=0.1)
    x, y = data(6)
    model.fit(x, y, validation_data=(x, y), verbose=0)
    return model, x


@pytest.fixture
def trained():
    return train("layer")


@pytest.mark.parametrize("way", ["layer", "argument"])
def test_served_by_tensorflow_alone(way, tmp_path):
    model, x = train(way)
    plain = hidden_then_head()
    plain.set_weights(model.get_weights())
    paths = [str(tmp_path / name) for name in ("penalized", "plain")]
    for path, m in zip(paths, (model, plain), strict=True):
        m.export(path, verbose=False)
    printed = fresh_process(SERVE.format(paths=paths), cwd=tmp_path, path=())
    seen = [json.loads(line) for line in printed.splitlines()[-2:]]
    for one in seen:
        np.testing.assert_allclose(one["served"], model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
        assert not one["penalties"]
    assert len(seen[0]["variables"]) == len(seen[1]["variables"]) == 4
    assigned = [op for op in seen[0]["operations"] if "Assign" in op]
    assert assigned == []


def test_back_as_a_layer(trained, tmp_path):
    model, x = trained
    model.export(str(tmp_path / "model"), verbose=False)
    layer = keras.layers.TFSMLayer(str(tmp_path / "model"), call_endpoint="serve")
    again = keras.Sequential([keras.Input((3,)), layer])
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_exporting_leaves_the_model_as_it_was(trained, tmp_path):
    model, x = trained
    _, y = data(6)
    before = model.evaluate(x, y, batch_size=6, verbose=0, return_dict=True)
    model.export(str(tmp_path / "model"), verbose=False)
    assert model.evaluate(x, y, batch_size=6, verbose=0, return_dict=True) == before
    model.fit(x, y, verbose=0)


def test_tensorflow_lite(trained):
    import tensorflow as tf

    model, x = trained
    converted = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    interpreter = tf.lite.Interpreter(model_content=converted)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    answer = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(answer, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_litert(trained, tmp_path):
    model, _ = trained
    try:
        model.export(str(tmp_path / "model.tflite"), format="litert", verbose=False)
    except (ImportError, ValueError) as e:
        pytest.skip(f"this Keras does not export it here: {e}")
    assert (tmp_path / "model.tflite").stat().st_size > 0


@pytest.mark.needs("onnx", "tf2onnx", "onnxruntime")
def test_onnx(trained, tmp_path):
    import onnxruntime

    model, x = trained
    path = str(tmp_path / "model.onnx")
    model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path)
    (answer,) = session.run(None, {session.get_inputs()[0].name: x})
    np.testing.assert_allclose(answer, model.predict(x, verbose=0), rtol=1e-4, atol=1e-5)


def test_an_archive_with_an_endpoint_of_ones_own(trained, tmp_path):
    import tensorflow as tf

    model, x = trained
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("hidden", model.call, [tf.TensorSpec((None, 3), "float32")])
    archive.write_out(str(tmp_path / "model"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.hidden(x), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
