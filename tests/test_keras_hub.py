"""Models of KerasHub, where it is installed: penalized inside blocks, trained, saved, loaded, stripped."""

import json

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from tests.support.helpers import BACKEND, fresh_process, to_numpy

keras_hub = pytest.importorskip("keras_hub")
if True:  # what follows needs it
    from tests.campaigns.hub_configs import small
    from tests.campaigns.keras_hub import arrays, checked, recorded, same

TOKENS = np.array([[5, 3, 8, 2, 0, 0], [1, 4, 9, 6, 7, 2]], "int32")
X = {"token_ids": TOKENS, "padding_mask": (TOKENS > 0).astype("int32")}
FEED_FORWARD = "transformer_layer_0/feedforward_intermediate_dense"
SCORES = "transformer_layer_1/self_attention:1"


@pytest.mark.parametrize("name", ["GPT2Backbone", "ViTBackbone", "DistilBertBackbone"])
def test_each_layer_of_a_backbone(name):
    row = checked(getattr(keras_hub.models, name))
    assert row.named == row.layers
    assert row.right == row.run
    assert not row.faults


def language_model():
    return keras_hub.models.GPT2CausalLM(small(keras_hub.models.GPT2Backbone), preprocessor=None)


def penalized_model(model=None):
    penalties = {FEED_FORWARD: kp.regularizers.L2(0.01), SCORES: kp.regularizers.Entropy(0.1)}
    return kp.penalize(model or language_model(), penalties, mask_from="padding_mask")


def expected_values(model, x):
    """The two penalties by NumPy, from what the layers of the plain model give."""
    mask = x["padding_mask"].astype(bool)
    first, second = (model.backbone.transformer_layers[i] for i in (0, 1))
    dense, attention = first._feedforward_intermediate_dense, second._self_attention_layer
    compute, kept = attention._compute_attention, []

    def with_scores(*args, **kwargs):
        outputs, scores = compute(*args, **{**kwargs, "return_attention_scores": True})
        kept.append(np.asarray(to_numpy(scores), "float64"))
        return outputs, scores

    attention._compute_attention = with_scores
    try:
        with recorded([dense]) as found:
            model(x)
    finally:
        del attention._compute_attention
    hidden = found[id(dense)][0][1].astype("float64")
    l2 = 0.01 * np.sum(hidden[mask] ** 2) / len(mask)
    scores = kept[0]
    safe = np.where(scores > 0, scores, 1.0)
    entropy = -np.sum(scores * np.log(safe), axis=-1) * mask[:, None, :]
    return l2, 0.1 * np.sum(entropy) / (np.sum(mask) * scores.shape[1])


def test_a_language_model(tmp_path):
    model = language_model()
    before, expected = arrays(model, X), expected_values(model, X)
    penalized = penalized_model(model)
    assert type(penalized).__name__ == "GPT2CausalLM" and isinstance(penalized, keras_hub.models.GPT2CausalLM)
    np.testing.assert_allclose(arrays(penalized, X)[0], before[0], atol=1e-5)  # fused attention is off
    penalized(X)
    np.testing.assert_allclose(sorted(map(float, penalized.losses)), sorted(expected), rtol=1e-4)
    only_dense = kp.penalize(model, {FEED_FORWARD: kp.regularizers.L2(0.01)}, mask_from="padding_mask")
    assert same(arrays(only_dense, X), before)

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    penalized.compile(keras.optimizers.SGD(0.0), loss, sampler="greedy")
    logs = penalized.fit(X, TOKENS, sample_weight=X["padding_mask"], batch_size=2, verbose=0).history
    found = [logs["feedforward_intermediate_dense_penalty"], logs["self_attention_output_1_penalty"]]
    np.testing.assert_allclose(np.ravel(found), expected, rtol=1e-4)

    model.compile(sampler="greedy")
    prompt = {key: value.copy() for key, value in X.items()}
    ours, theirs = (m.generate(prompt, stop_token_ids=None) for m in (penalized, model))
    np.testing.assert_array_equal(to_numpy(ours["token_ids"]), to_numpy(theirs["token_ids"]))

    weights = tmp_path / "model.weights.h5"
    for one, other in ((penalized, model), (model, penalized)):
        one.save_weights(weights)
        other.load_weights(weights)
    plain = kp.strip(penalized)
    assert type(plain) is keras_hub.models.GPT2CausalLM
    assert same(arrays(plain, X), before)


@pytest.mark.parametrize("ending", [".weights.h5", ".keras"])
def test_files_of_a_backbone_with_hidden_outputs(ending, tmp_path):
    plain, other = language_model().backbone, language_model().backbone
    wrapped = kp.models.HiddenOutputs(other, hidden=[FEED_FORWARD], mask_from="padding_mask")
    for one, target in ((plain, wrapped), (wrapped, plain)):
        one.set_weights([w + 0.1 for w in one.get_weights()])
        (one.save_weights if ending == ".weights.h5" else one.save)(tmp_path / f"file{ending}")
        target.load_weights(tmp_path / f"file{ending}")
        assert same(arrays(target, X), arrays(one, X))


LOAD = """
import json, keras, keras_hub, numpy as np, keras_penalties as kp
x = dict(np.load("x.npz"))
model = keras.saving.load_model("model.keras")
y = keras.ops.convert_to_numpy(model(x))
np.save("y.npy", y)
print(json.dumps([type(model).__name__, sorted(float(v) for v in model.losses)]))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_file_of_a_language_model_on_another_backend(backend, tmp_path):
    if backend == BACKEND:
        pytest.skip("the same backend")
    penalized = penalized_model()
    y = arrays(penalized, X)[0]
    penalized(X)
    losses = sorted(map(float, penalized.losses))
    penalized.save(tmp_path / "model.keras")
    np.savez(tmp_path / "x.npz", **X)
    printed = fresh_process(LOAD, cwd=tmp_path, backend=backend)
    name, found = json.loads(printed.splitlines()[-1])
    assert name == "GPT2CausalLM"
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), y, atol=1e-5)


def lora(model):
    model.enable_lora(2)
    for layer in model._flatten_layers():
        for name in ("lora_kernel_b", "lora_embeddings_b"):
            if getattr(layer, "lora_enabled", False) and hasattr(layer, name):
                getattr(layer, name).assign(ops.full(getattr(layer, name).shape, 0.01))


def int8(model):
    model.quantize("int8")


@pytest.mark.parametrize("change", [lora, int8])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_backbone_that_is_adapted_or_quantized(change, when, tmp_path):
    keras.utils.set_random_seed(1)
    plain, other = (small(keras_hub.models.GPT2Backbone) for _ in range(2))
    other.set_weights(plain.get_weights())
    change(plain)
    if when == "before":
        change(other)
    penalized = kp.penalize(other, {FEED_FORWARD: kp.regularizers.L2(0.01)}, mask_from="padding_mask")
    if when == "after":
        change(penalized)
    if change is lora:  # its first matrix is random
        penalized.set_weights(plain.get_weights())
    assert same(arrays(penalized, X), arrays(plain, X))
    penalized(X)
    (loss,) = penalized.losses
    layer = plain.transformer_layers[0]._feedforward_intermediate_dense
    called = "quantized_call" if change is int8 else "call"
    with recorded([layer], called) as found:
        plain(X)
    hidden = found[id(layer)][0][1].astype("float64")
    mask = X["padding_mask"].astype(bool)
    np.testing.assert_allclose(float(loss), 0.01 * np.sum(hidden[mask] ** 2) / 2, rtol=1e-4)
    penalized.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded(X)
    np.testing.assert_allclose(float(loaded.losses[0]), float(loss), rtol=1e-4)
