"""Known architectures: penalized, trained, stripped, saved, and loaded by plain Keras, equal to the bit."""

import json

import keras
import numpy as np
import pytest
from keras import layers, tree

import keras_penalties as kp
from tests.support.attach_networks import assert_same, outputs, penalties_of
from tests.support.helpers import fresh_process, to_numpy

pytestmark = pytest.mark.default_backend_only

L2 = kp.regularizers.L2(1e-4)
SMALL = {"weights": None, "include_top": False, "input_shape": (32, 32, 3)}


def pretrained_with_head():
    """A nested VGG16, as in transfer learning."""
    x = keras.Input((32, 32, 3))
    h = layers.GlobalMaxPooling2D()(keras.applications.VGG16(**SMALL)(x))
    return keras.Model(x, layers.Dense(10, activation="softmax", name="head")(h))


def backbone():
    keras_hub = pytest.importorskip("keras_hub")
    return keras_hub.models.BertBackbone(
        vocabulary_size=50,
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=16,
    )


CASES = {
    "VGG16": (pretrained_with_head, {"block*_conv*:preactivation": L2, "head:preactivation": L2}, 14),
    "MobileNetV2": (
        lambda: keras.applications.MobileNetV2(alpha=0.35, **SMALL),
        {"*_expand": L2},
        16,
    ),
    "EfficientNetB0": (
        lambda: keras.applications.EfficientNetB0(**SMALL),
        {"block2*_project_conv:input": L2},
        2,
    ),
    "BERT": (backbone, {"transformer_layer_*": L2, "*_intermediate_dense": L2}, 4),
}

LOAD = """
import sys, json, keras, numpy as np
data = np.load("x.npz")
x = {name: data[name] for name in data.files}
model = keras.saving.load_model("bare.keras")
y = keras.tree.flatten(model(x if len(x) > 1 else x["x"], training=False))
np.savez("y.npz", *[keras.ops.convert_to_numpy(a) for a in y])
print(json.dumps("keras_penalties" in sys.modules))
"""


def batch_for(model, rows=4):
    random = np.random.default_rng(0)

    def one(spec):
        shape = (rows, *(axis or 12 for axis in spec.shape[1:]))
        if spec.dtype == "int32":
            return random.integers(0, 2, shape).astype("int32")
        return random.normal(size=shape).astype("float32")

    return tree.map_structure(one, model.input)


@pytest.mark.parametrize("name", CASES)
def test_penalized_trained_stripped_saved(name, tmp_path):
    build, penalties, count = CASES[name]
    model = build()
    x = batch_for(model)
    before, description = outputs(model, x), model.to_json()

    penalized = kp.penalize(model, penalties)
    assert len(penalties_of(penalized)) == count
    assert_same(outputs(penalized, x), before)
    assert_same(outputs(kp.strip(penalized), x), before)

    penalized.compile("sgd", tree.map_structure(lambda _: "mse", penalized.output), run_eagerly=True)
    y = tree.map_structure(lambda a: np.zeros(to_numpy(a).shape), model(x))
    logs = penalized.fit(x, y, batch_size=2, verbose=0).history
    assert set(penalties_of(penalized)) <= set(logs)
    after = outputs(penalized, x)
    assert any(np.any(a != b) for a, b in zip(after, before, strict=True))
    assert_same(outputs(model, x), after)
    assert model.to_json() == description

    bare = kp.strip(penalized)
    assert_same(outputs(bare, x), after)
    assert len(bare.trainable_variables) == len(model.trainable_variables)
    assert bare.count_params() == model.count_params()
    bare.save(tmp_path / "bare.keras")
    np.savez(tmp_path / "x.npz", **(x if isinstance(x, dict) else {"x": x}))
    code = ("import keras_hub\n" if name == "BERT" else "") + LOAD
    assert json.loads(fresh_process(code, cwd=tmp_path, path=()).splitlines()[-1]) is False
    loaded = np.load(tmp_path / "y.npz")
    assert_same([loaded[key] for key in loaded.files], after)
