# %% [markdown]
# # A language model, penalized inside a block
#
# You train a small transformer on text, character by character. Then you reach into its
# third block by name, and penalize the layer in the middle of the feed-forward part. Its
# units are zero more often afterwards, which a sparse implementation can skip.
# The model's code stays as it is.
#
# **Time:** a minute on two cores. **Data:** Python's own reference manual, which is
# in the standard library. **Install:** `pip install 'keras-penalties[plots]'`

# %%
import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # before Keras: no log lines of TensorFlow

from pydoc_data.topics import topics

import keras
import matplotlib.pyplot as plt
import numpy as np
from keras import ops

import keras_penalties as kp

WIDTH, LENGTH, BATCH = 48, 48, 16
text = "\n".join(topics[name] for name in sorted(topics))
characters = sorted(set(text))
number = {character: i for i, character in enumerate(characters)}
ids = np.array([number[character] for character in text], "int32")
rows = ids[: len(ids) // (LENGTH + 1) * (LENGTH + 1)].reshape(-1, LENGTH + 1)
rows = np.random.default_rng(0).permutation(rows)
new, train = rows[:500], rows[500:]

# %% [markdown]
# ## The model
#
# A block is a layer with layers in it, as in most implementations. Nothing here knows
# about penalties.


# %%
@keras.saving.register_keras_serializable("notebook")
class Block(keras.layers.Layer):
    """Causal self-attention, then a feed-forward part that is four times as wide."""

    def __init__(self, width, heads=3, **kwargs):
        super().__init__(**kwargs)
        self.width, self.heads = width, heads
        self.before_attention = keras.layers.LayerNormalization()
        self.attention = keras.layers.MultiHeadAttention(heads, width // heads)
        self.before_expand = keras.layers.LayerNormalization()
        self.expand = keras.layers.Dense(4 * width, activation="relu", name="expand")
        self.project = keras.layers.Dense(width, name="project")

    def build(self, shape):
        self.before_attention.build(shape)
        self.attention.build(shape, shape)
        self.before_expand.build(shape)
        self.expand.build(shape)
        self.project.build((*shape[:-1], 4 * self.width))

    def call(self, x):
        h = self.before_attention(x)
        x = x + self.attention(h, h, use_causal_mask=True)
        return x + self.project(self.expand(self.before_expand(x)))

    def get_config(self):
        return {**super().get_config(), "width": self.width, "heads": self.heads}


def language_model():
    keras.utils.set_random_seed(0)
    x = keras.Input((LENGTH,), dtype="int32", name="text")
    place = ops.cumsum(ops.ones_like(x), axis=1) - 1  # 0, 1, 2, ...
    place = keras.layers.Embedding(LENGTH, WIDTH, name="place")(place)
    h = keras.layers.Embedding(len(characters), WIDTH, name="character")(x) + place
    for block in (1, 2, 3, 4):
        h = Block(WIDTH, name=f"block_{block}")(h)
    h = keras.layers.LayerNormalization(name="norm")(h)
    return keras.Model(
        x, keras.layers.Dense(len(characters), name="next")(h), name="lm"
    )


def fit(model, rows):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.003), loss)
    x, y = rows[:, :-1], rows[:, 1:]
    return model.fit(x, y, batch_size=BATCH, verbose=0).history


existing = language_model()
fit(existing, train[: 300 * BATCH])
print(f"{len(characters)} characters, {existing.count_params():,} weights")

# %% [markdown]
# ```text
# 103 characters, 125,479 weights
# ```
#
# ## Find the name
#
# `kp.list_tensors` shows what can be named. Names of layers join with a slash. After a name that
# Keras generated stands the attribute, which can be used instead.

# %%
print(kp.list_tensors(existing))

# %% [markdown]
# It prints a tree. This is the part of the third block:
#
# ```text
# ├── block_3  (None, 48, 48)
# │   ├── layer_normalization_4  self.before_attention
# │   ├── multi_head_attention_2  self.attention
# │   │   ├── query
# │   │   ├── key
# │   │   ├── value
# │   │   ├── softmax_2
# │   │   ├── dropout_2
# │   │   └── attention_output
# │   ├── layer_normalization_5  self.before_expand
# │   ├── expand
# │   └── project
# ```
#
# ## Penalize, and train on
#
# `kp.penalize` returns a new model that shares the weights of yours. To compare, we train
# two copies for 150 more steps: one without a penalty, one with `L1` on `"block_3/expand"`.
# With `per="element"` the penalty is the strength times the mean activation.


# %%
def copy_of(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


again = train[300 * BATCH : 450 * BATCH]
plain = copy_of(existing)
fit(plain, again)
penalty = kp.regularizers.L1(0.1, per="element")
penalized = kp.penalize(copy_of(existing), {"block_3/expand": penalty})
fit(penalized, again)
print(kp.audit(penalized, new[:64, :-1], new[:64, 1:]))

# %% [markdown]
# ```text
# Penalties of 'lm'
#
#  name            at              penalty            strength     adds  of loss  gradient  elements  verdict
#  ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
#  expand_penalty  block_3/expand  L1(per='element')       0.1  0.00443     0.2%  0.0039 x   589,824  reaches the gradient
#
# Batch of 64: loss 2.275, main loss 2.271. Gradients are shown as multiples of the main loss's.
# ```
#
# The log shows the penalty as `expand_penalty`. It adds 0.2% to the loss, and its gradient
# is 0.4% of the main loss's. That looks like nothing, but it is steady: it always
# points to smaller activations, while the main loss hardly needs most of them.
#
# ## What it did
#
# `HiddenOutputs` gives hidden tensors metrics, as `compile` does for outputs. Here it is
# the share of units that are on, in each block, on new text.


# %%
def on(y_true, hidden):
    return ops.mean(ops.cast(hidden > 0, "float32"), axis=-1)


def measure(model):
    names = [f"block_{block}/expand" for block in (1, 2, 3, 4)]
    model = kp.models.HiddenOutputs(model, hidden=names)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, hidden_metrics={name: on for name in names})
    logs = model.evaluate(new[:, :-1], new[:, 1:], verbose=0, return_dict=True)
    return logs["loss"], [
        value for name, value in logs.items() if name.endswith("_on")
    ]


results = {
    "without": measure(plain),
    "with the penalty": measure(kp.strip(penalized)),
}
for name, (loss, shares) in results.items():
    print(f"{name}: loss {loss:.3f}, units on", ", ".join(f"{s:.1%}" for s in shares))

# %% [markdown]
# ```text
# without: loss 2.163, units on 38.7%, 32.8%, 31.9%, 32.4%
# with the penalty: loss 2.165, units on 38.9%, 32.7%, 10.9%, 32.6%
# ```
#
# In block 3 a third of the units was on, now it is a ninth. The loss on new text is the same
# to two thousandths. Two cautions: this is a small model after a short training, which
# does not use all its units; and Keras computes the zeros like any other number, so
# nothing is faster until an implementation skips them.
#
# ## It still writes
#
# `kp.strip` gives the plain model back. It continues a text, one character at a time.

# %%
shipped = kp.strip(penalized)
rng, written = np.random.default_rng(0), list(new[0, :LENGTH])
for _ in range(100):
    scores = shipped.predict_on_batch(np.array([written[-LENGTH:]]))[0, -1]
    chances = np.exp((scores - scores.max()) / 0.5)
    written.append(rng.choice(len(characters), p=chances / chances.sum()))
print("".join(characters[i] for i in written[LENGTH:]))

# %% [markdown]
# For us it wrote the following. It has learned the length of words and little else.
#
# ```
# atre that obut in the wrept butint in remele the an is a be cont arint ion othe is the the the s
# ```

# %%
figure, axis = plt.subplots(figsize=(9, 4.4), layout="constrained")
for place, (name, (_, shares)) in enumerate(results.items()):
    at = np.arange(4) + 0.4 * place - 0.2
    axis.bar(at, 100 * np.array(shares), 0.38, color=("C1", "C0")[place], label=name)
axis.set_xticks(range(4), [f"block {block}" for block in (1, 2, 3, 4)])
axis.set(title="Units on in the feed-forward part, on new text (%)")
axis.legend()
figure.savefig("notebook-language-model.png", dpi=110)

# %% [markdown]
# Only block 3 changes, the block that the penalty names. To penalize all four, write
# `"block_*/expand"`.
#
# All texts here have the same length. If yours differ, number the characters from 1 and pad
# with 0. Then name the input of the ids in `penalize`, `mask_from="text"` ([padding inside a
# block](../docs/reach-inside.md#padding-inside-a-block)), and leave the padding out of the
# main loss too, with `ignore_class=0`.
#
# **Next:** [how every tensor of a model is named](../docs/reach-inside.md), with a model of
# KerasHub, and [how to choose the strength](../docs/strengths.md).
