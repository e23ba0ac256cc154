"""Random models with one penalized layer, by each way of attaching a penalty."""

from dataclasses import dataclass

import keras
import numpy as np
from hypothesis import strategies as st
from keras import layers

import keras_penalties as kp
from tests.support.helpers import to_numpy


@dataclass(frozen=True)
class Plan:
    """What a model looks like.

    Attributes:
        positions: the position axes of its inputs.
        features: the features of its inputs.
        units: the units of the penalized layer.
        activation: its activation.
        depth: how many models it is nested in; 0 is the outermost itself.
        sequential: whether the models around it are Sequential.
        inputs: how many inputs the outermost has. With two, all else is used twice.
        outputs: how many outputs it has.
        masked: whether the steps that are all zeros are masked.
        normalized: whether a normalization follows.
    """

    positions: tuple
    features: int
    units: int
    activation: str
    depth: int
    sequential: bool
    inputs: int
    outputs: int
    masked: bool
    normalized: bool

    @property
    def shape(self):
        return (*self.positions, self.features)

    @property
    def path(self):
        """Where the penalized layer is, for each of its uses."""
        nested = "/".join([*(f"level_{i}" for i in range(self.depth)), "target"])
        if self.inputs == 1:
            return [nested]
        first, *rest = nested.split("/")
        return ["/".join([f"{first}@{use}", *rest]) for use in range(self.inputs)]


@st.composite
def plans(draw):
    positions = draw(st.lists(st.integers(1, 3), max_size=2))
    return Plan(
        positions=tuple(positions),
        features=draw(st.integers(1, 3)),
        units=draw(st.integers(1, 4)),
        activation=draw(st.sampled_from(["linear", "relu", "tanh", "sigmoid", "softmax"])),
        depth=draw(st.integers(0, 2)),
        sequential=draw(st.booleans()),
        inputs=draw(st.integers(1, 2)),
        outputs=draw(st.integers(1, 2)),
        masked=bool(positions) and draw(st.booleans()),
        normalized=draw(st.booleans()),
    )


class Seen(layers.Layer):
    """Hands what passes through it, as arrays, with its mask, to `keep`."""

    def __init__(self, keep, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking, self.keep = True, keep

    def call(self, inputs, mask=None):
        if not isinstance(inputs, keras.KerasTensor):
            self.keep((to_numpy(inputs), None if mask is None else to_numpy(mask)))
        return inputs

    def compute_output_spec(self, inputs, mask=None):
        return keras.KerasTensor(inputs.shape, dtype=inputs.dtype)


def build(plan, regularizer=None, after=None):
    """The model of `plan`, the same weights each time, with `after` after the penalized layer."""
    first = layers.Dense(plan.features, "tanh", name="first")
    target = layers.Dense(plan.units, plan.activation, name="target", activity_regularizer=regularizer)
    stack = [first, target, *([after] if after is not None else [])]
    if plan.normalized:
        stack.append(layers.LayerNormalization(name="normalized"))
    for level in reversed(range(plan.depth)):
        stack = [_model(plan, stack, f"level_{level}")]
    starts = [keras.Input(plan.shape, name=f"input_{i}") for i in range(plan.inputs)]
    masking = layers.Masking(name="masking") if plan.masked else None
    ends = []
    for start in starts:
        h = start if masking is None else masking(start)
        for layer in stack:
            h = layer(h)
        ends.append(h)
    joined = layers.Add(name="joined")(ends) if len(ends) > 1 else ends[0]
    outputs = [layers.Dense(2, name=f"output_{i}")(layers.Flatten()(joined)) for i in range(plan.outputs)]
    model = keras.Model(starts if len(starts) > 1 else starts[0], outputs if len(outputs) > 1 else outputs[0])
    drawn = np.random.RandomState(3)
    for weight in model.trainable_weights:  # and not the step of a penalty
        weight.assign(drawn.randn(*weight.shape) * 0.7)
    return model


def _model(plan, stack, name):
    start = keras.Input(plan.shape)
    if plan.sequential:
        return keras.Sequential([start, *stack], name=name)
    h = start
    for layer in stack:
        h = layer(h)
    return keras.Model(start, h, name=name)


def data(plan, rows, seed=0):
    """Inputs, some steps of which are padding, and labels."""
    drawn = np.random.RandomState(seed)
    x = [drawn.randn(rows, *plan.shape).astype("float32") for _ in range(plan.inputs)]
    if plan.masked:
        for array in x:
            array[drawn.rand(*array.shape[:-1]) < 0.3] = 0.0
    y = [drawn.randn(rows, 2).astype("float32") for _ in range(plan.outputs)]
    return (x if len(x) > 1 else x[0]), (y if len(y) > 1 else y[0])


def hidden_of(plan, x):
    """The output of the penalized layer in each of its uses, with the mask there."""
    kept = []
    build(plan, after=Seen(kept.append))(x)
    return kept


WAYS = ("argument", "layer", "name", "compiled")


def attach(plan, way, penalty):
    """The model with `penalty`, not compiled; more for `compile`; the keys of its terms in the logs."""
    if way == "argument":
        return build(plan, regularizer=penalty), {}, []
    if way == "layer":
        return build(plan, after=kp.layers.ActivityPenalty(penalty, name="shown")), {}, ["shown"]
    if way == "name":
        model = kp.penalize(build(plan), {"*target": penalty})
        found = [v for v in model._flatten_layers() if isinstance(v, kp.layers.ActivityPenalty)]
        return model, {}, [v.name for v in found]
    names = {f"use_{i}": path for i, path in enumerate(plan.path)}
    model = kp.models.HiddenOutputs(build(plan), hidden=names)
    return model, {"hidden_losses": dict.fromkeys(names, penalty)}, [f"{name}_loss" for name in names]
