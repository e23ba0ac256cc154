"""`strip` of known architectures: each model of `keras.applications`, and small backbones of KerasHub.

`python -m tests.campaigns.stripped [NAME ...]` builds each without trained weights, strips it, and prints a
row for it: whether the result is described as the model was before `penalize`, and has as many weights.
KerasHub's are stripped as they are, with LoRA, in int8, and in int8 with LoRA; `pip install keras-hub` first.
"""

import sys
import time

import keras
import numpy as np
from keras import layers, tree

import keras_penalties as kp

L2 = kp.regularizers.L2(0.1)
TEXT = {"vocabulary_size": 50, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 32}
HEADS = {**TEXT, "num_heads": 2, "max_sequence_length": 16}
GROUPED = {**TEXT, "num_query_heads": 2, "num_key_value_heads": 1}
BLOCKS = {"stackwise_num_filters": [8, 16], "stackwise_num_blocks": [1, 1], "stackwise_num_strides": [1, 2]}
STEM = {"input_conv_filters": [8], "input_conv_kernel_sizes": [3], "use_pre_activation": False}
BACKBONES = {
    "AlbertBackbone": {**HEADS, "embedding_dim": 8},
    "BartBackbone": HEADS,
    "BertBackbone": HEADS,
    "DebertaV3Backbone": HEADS,
    "DistilBertBackbone": HEADS,
    "GPT2Backbone": HEADS,
    "GPTNeoXBackbone": HEADS,
    "GemmaBackbone": {**GROUPED, "head_dim": 8},
    "LlamaBackbone": GROUPED,
    "MistralBackbone": GROUPED,
    "Phi3Backbone": GROUPED,
    "QwenBackbone": GROUPED,
    "ResNetBackbone": {**BLOCKS, **STEM, "block_type": "basic_block"},
    "RobertaBackbone": HEADS,
    "T5Backbone": {**TEXT, "num_heads": 2},
    "ViTBackbone": {
        **{"image_shape": (16, 16, 3), "patch_size": 4, "num_layers": 2, "num_heads": 2},
        **{"hidden_dim": 16, "mlp_dim": 32},
    },
}


APPLICATIONS = sorted(name for name in dir(keras.applications) if name[0].isupper())


def lora(model):
    model.enable_lora(2)
    for layer in model._flatten_layers():
        for weight in layer._trainable_variables if getattr(layer, "lora_enabled", False) else ():
            weight.assign(0.01 * np.ones(weight.shape))


def int8(model):
    model.quantize("int8")


CHANGES = {"as it is": [], "LoRA": [lora], "int8": [int8], "int8, LoRA": [int8, lora]}


def application(name):
    build = getattr(keras.applications, name)
    try:
        return build(weights=None, include_top=False, input_shape=(96, 96, 3))
    except ValueError:
        return build(weights=None)


def backbone(name, changes):
    import keras_hub

    model = getattr(keras_hub.models, name)(**BACKBONES[name])
    for change in changes:
        change(model)
    return model


def batch_for(model, length=8):
    random = np.random.default_rng(0)

    def one(spec):
        shape = (2, *(axis or length for axis in spec.shape[1:]))
        whole = "int" in spec.dtype
        return random.integers(0, 2, shape) if whole else random.normal(size=shape).astype("float32")

    return tree.map_structure(one, model.input)


def same(bare, model, *, described=True):
    if described and bare.to_json() != model.to_json():
        return "described otherwise"
    pairs = [(bare.variables, model.variables), (bare.trainable_variables, model.trainable_variables)]
    return "ok" if all(len(a) == len(b) for a, b in pairs) else "other variables"


def rows(name):
    if name in APPLICATIONS:
        model = application(name)
        penalized = kp.penalize(model, {layers.Conv2D: L2}, "preactivation")
        yield "convolutions", lambda: same(kp.strip(penalized), model)
        return
    for change, steps in CHANGES.items():
        model = backbone(name, steps)
        kinds = f"itself, {change}", f"penalized, {change}"
        yield kinds[0], lambda m=model: same(kp.strip(m, batch_for(m)), m)
        penalized = kp.penalize(model, {model.layers[-1].name: L2})
        yield kinds[1], lambda m=model, p=penalized: same(kp.strip(p, batch_for(m)), m, described=False)


def main(names):
    print("| model | what | result | seconds |\n|---|---|---|---|")
    for name in names:
        keras.utils.set_random_seed(0)
        for what, run in rows(name):
            start = time.time()
            try:
                result = run()
            except Exception as error:
                result = f"{type(error).__name__}: {str(error)[:120]!r}"
            print(f"| {name} | {what} | {result} | {time.time() - start:.1f} |", flush=True)
        keras.backend.clear_session()


if __name__ == "__main__":
    main(sys.argv[1:] or [*APPLICATIONS, *BACKBONES])
