"""The formats that a model of models is written in: all of Keras, quantized models, and early refusals."""

import importlib.util

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.models.networks import data, one_hidden, set_weights
from tests.support.helpers import BACKEND

FORMATS = {
    "tf_saved_model": ("tensorflow", "jax"),
    "onnx": ("tensorflow", "torch"),
    "openvino": ("tensorflow", "torch"),
    "litert": ("tensorflow",),
    "torch": ("torch",),
}
NEEDS = {
    "tf_saved_model": ["tensorflow"],
    "onnx": {"tensorflow": ["tf2onnx", "onnxruntime"], "torch": ["onnxscript", "onnxruntime"]}.get(
        BACKEND, []
    ),
    "openvino": ["openvino"],
    "litert": ["tensorflow"],
    "torch": ["torch"],
}
ENDINGS = {"onnx": ".onnx", "openvino": ".xml", "litert": ".tflite", "torch": ".pt2"}


def hidden_outputs(base=None):
    model = kp.models.HiddenOutputs(base or one_hidden(), hidden=["dense_4"])
    model.compile("sgd", "mse", hidden_losses={"dense_4": kp.regularizers.L2(0.1)})
    return model


def functional():
    start = keras.Input((3,))
    h = layers.Dense(4, "relu", name="dense_4")(start)
    return set_weights(keras.Model(start, layers.Dense(2, name="out")(h)))


def siamese():
    return kp.models.Siamese(functional())


def anti_piracy():
    classifier = keras.Sequential([keras.Input((3,)), layers.Dense(4, activation="softmax")])
    return kp.models.AntiPiracy(set_weights(classifier), kp.layers.UniversalPerturbation(0.5))


def inputs(model):
    x = data()[0][:1]
    return [x, x * 2.0] if isinstance(model, kp.models.Siamese) else x


MODELS = {
    "sequential": hidden_outputs,
    "functional": lambda: hidden_outputs(functional()),
    "siamese": siamese,
    "anti_piracy": anti_piracy,
}
each_model = pytest.mark.parametrize("make", list(MODELS.values()), ids=list(MODELS))


@each_model
@pytest.mark.parametrize("form", [f for f, backends in FORMATS.items() if BACKEND in backends])
def test_what_was_never_called_is_exported(make, form, tmp_path):
    if not all(importlib.util.find_spec(name) for name in NEEDS[form]):
        pytest.skip(f"not installed: {', '.join(NEEDS[form])}")
    model = make()
    file = tmp_path / f"model{ENDINGS.get(form, '')}"
    model.export(str(file), format=form, verbose=False)
    assert file.exists()
    x = inputs(model)
    expected = model.predict(x, verbose=0)
    found = run(file, form, x)
    if found is not None:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def run(file, form, x):
    """What the exported file answers."""
    x = x if isinstance(x, list) else [x]
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(file))
        return session.run(None, dict(zip([i.name for i in session.get_inputs()], x, strict=True)))[0]
    if form == "litert":
        return run_lite(file.read_bytes(), x)[0]
    if form == "tf_saved_model":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(file))  # which holds the variables
        return loaded.serve(*([x] if len(x) > 1 else x)).numpy()
    return None


def run_lite(content, x):
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    for detail, value in zip(interpreter.get_input_details(), x, strict=True):
        interpreter.set_tensor(detail["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


@pytest.mark.default_backend_only
@each_model
def test_tensorflow_converts_and_saves_the_model_itself(make, tmp_path):
    import tensorflow as tf

    model = make()
    x = inputs(model)
    expected = model.predict(x, verbose=0)
    lite = run_lite(
        tf.lite.TFLiteConverter.from_keras_model(model).convert(), x if isinstance(x, list) else [x]
    )
    assert any(v.shape == expected.shape and np.allclose(v, expected, rtol=1e-4, atol=1e-6) for v in lite)
    tf.saved_model.save(model, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    served = loaded.signatures["serving_default"]
    names = [spec.name for spec in served.structured_input_signature[1].values()]
    feed = dict(zip(names, x if isinstance(x, list) else [x], strict=True))
    (answer,) = served(**{name: tf.constant(value) for name, value in feed.items()}).values()
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-6)
    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = [keras.InputSpec(shape=(None, 3), dtype="float32")]
    archive.add_endpoint("serve", model.__call__, [spec * 2] if isinstance(x, list) else spec)
    archive.write_out(str(tmp_path / "archive"), verbose=False)


@pytest.mark.default_backend_only
def test_tensorflow_saves_the_types_of_the_inputs(tmp_path):
    import tensorflow as tf

    start = keras.Input((5,), dtype="int32")
    h = layers.Dense(3, name="h")(layers.Embedding(7, 2)(start))
    model = kp.models.HiddenOutputs(keras.Model(start, h), hidden=["h"])
    tf.saved_model.save(model, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    served = loaded.signatures["serving_default"]
    assert [spec.dtype for spec in served.structured_input_signature[1].values()] == [tf.int32]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["int8", "float8"])
@pytest.mark.parametrize("when", ["before compile", "after compile", "after fit"])
def test_a_quantized_model_compiles_and_computes_what_the_plain_one_does(mode, when, tmp_path):
    x, y = data()
    plain, model = functional(), kp.models.HiddenOutputs(functional(), hidden=["dense_4"])
    for m in (plain, model):
        if when != "before compile":
            m.compile("sgd", "mse")
        if when == "after fit":
            m.fit(x, y, epochs=2, shuffle=False, verbose=0)
        m.quantize(mode)
    model.compile("sgd", "mse", hidden_losses={"dense_4": kp.regularizers.L2(0.1)})
    model.compile("sgd", "mse", hidden_losses={"dense_4": kp.regularizers.L2(0.1)})
    plain.compile("sgd", "mse")
    np.testing.assert_allclose(model.predict(x, verbose=0), plain.predict(x, verbose=0), rtol=1e-5)
    expected = plain.evaluate(x, y, verbose=0)
    hidden = keras.Model(plain.inputs, plain.get_layer("dense_4").output).predict(x, verbose=0)
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["main_loss"] == pytest.approx(expected, rel=1e-5)
    assert logs["dense_4_loss"] == pytest.approx(0.1 * np.mean(np.sum(hidden**2, axis=1)), rel=1e-5)
    model.save(tmp_path / "quantized.keras")
    again = keras.saving.load_model(tmp_path / "quantized.keras")
    assert again.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(logs, rel=1e-5)


@pytest.mark.parametrize("mode", ["int8", "float8"])
def test_a_penalized_model_is_quantized(mode, tmp_path):
    x, y = data()
    plain, model = functional(), kp.penalize(functional(), {"dense_4": kp.regularizers.L2(0.1)})
    for m in (plain, model):
        m.quantize(mode)
        m.compile("sgd", "mse")
    hidden = keras.Model(plain.inputs, plain.get_layer("dense_4").output).predict(x, verbose=0)
    value = 0.1 * np.mean(np.sum(hidden**2, axis=1))
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    assert logs["dense_4_penalty"] == pytest.approx(value, rel=1e-5)
    assert logs["loss"] == pytest.approx(plain.evaluate(x, y, verbose=0) + value, rel=1e-5)
    model.save(tmp_path / "quantized.keras")
    again = keras.saving.load_model(tmp_path / "quantized.keras")
    assert again.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(logs, rel=1e-5)


@each_model
@pytest.mark.parametrize("ending", ["h5", "hdf5"])
def test_legacy_files_are_refused_before_they_are_touched(make, ending, tmp_path):
    model, file = make(), tmp_path / f"model.{ending}"
    file.write_text("what was there")
    with pytest.raises(ValueError, match=r"cannot be saved as legacy HDF5.*'\.keras'.*save_weights"):
        model.save(file)
    assert file.read_text() == "what was there"
    with pytest.raises(ValueError, match="cannot be saved as legacy HDF5"):
        keras.saving.save_model(model, file)


@each_model
def test_weights_alone_are_written_as_hdf5(make, tmp_path):
    model, other = make(), make()
    other.set_weights([w + 1.0 for w in model.get_weights()])
    model.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    for ours, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@keras.saving.register_keras_serializable("tests")
class Nameless(layers.Layer):
    """Keras makes its configuration, and leaves the name out, as the argument is not called `kwargs`."""

    def __init__(self, factor, **kw):
        super().__init__(**kw)
        self.factor = factor

    def call(self, x):
        return x * self.factor


@keras.saving.register_keras_serializable("tests")
class Named(Nameless):
    def __init__(self, factor, **kwargs):
        super().__init__(factor, **kwargs)


@pytest.mark.parametrize("nested", [False, True])
def test_a_hidden_tensor_is_found_again_where_a_file_loses_its_name(nested, tmp_path):
    start = keras.Input((3,))
    h = Named(2.0, name="kept")(Nameless(2.0, name="lost")(start))
    model = keras.Model(start, h, name="inner")
    if nested:
        start = keras.Input((3,))
        model = keras.Model(start, model(start))
    file, x = tmp_path / "model.keras", data()[0]
    wrapped = kp.models.HiddenOutputs(model, hidden=["lost", "kept"])
    penalty = kp.regularizers.L2(0.1)
    wrapped.compile("sgd", "mse", hidden_losses={"lost": penalty, "kept": penalty})
    wrapped.save(file)
    again = keras.saving.load_model(file)
    logs = wrapped.evaluate(x, x, verbose=0, return_dict=True)
    assert again.evaluate(x, x, verbose=0, return_dict=True) == pytest.approx(logs, rel=1e-6)


@each_model
def test_metrics_names_are_keys_of_the_logs(make):
    model = make()
    if not model.compiled:
        model.compile("sgd", **({"loss": kp.losses.Contrastive()} if make is siamese else {}))
    x, y = data()
    if make is siamese:
        x, y = [x, x * 2.0], np.zeros(len(x), "float32")
    elif make is anti_piracy:
        y = np.zeros(len(x), "int32")
    assert set(model.evaluate(x, y, verbose=0, return_dict=True)) == set(model.metrics_names)


def test_metrics_names_have_the_other_losses_where_there_are_any():
    model = hidden_outputs(one_hidden(kernel_regularizer="l2"))
    logs = model.evaluate(*data(), verbose=0, return_dict=True)
    assert (
        set(model.metrics_names) == set(logs) == {"loss", "main_loss", "dense_4_loss", "regularization_loss"}
    )
