"""Every requested penalty is there, or an error says why not: unused outputs, own methods, log names."""

import re
from inspect import getattr_static, unwrap

import keras
import numpy as np
import pytest
from keras import layers, tree

import keras_penalties as kp
from keras_penalties.models._wrapped import LOST, public_names
from tests.support.attach_networks import batch_for, logs_of, outputs
from tests.support.helpers import ROOT

L2 = kp.regularizers.L2(0.1)


def two_outputs(**kwargs):
    start = keras.Input((5, 3))
    return keras.Model(start, [layers.Dense(4)(start), layers.Dense(2)(start)], **kwargs)


def attention(name):
    layer = layers.MultiHeadAttention(2, 3, name=name)
    return lambda x: layer(x, x, return_attention_scores=True)


SEVERAL = {
    "LSTM": lambda name: layers.LSTM(4, return_state=True, name=name),
    "GRU": lambda name: layers.GRU(4, return_state=True, return_sequences=True, name=name),
    "cells": lambda name: layers.RNN([layers.GRUCell(3), layers.LSTMCell(2)], return_state=True, name=name),
    "Bidirectional": lambda name: layers.Bidirectional(layers.GRU(4), merge_mode=None, name=name),
    "attention": attention,
    "nested model": lambda name: two_outputs(name=name),
}


def l2(tensor):
    return 0.1 * np.sum(tensor.astype("float64") ** 2) / len(tensor)


@pytest.mark.parametrize("used", [0, 1])
@pytest.mark.parametrize("kind", SEVERAL)
def test_every_output_is_penalized_whether_anything_uses_it_or_not(kind, used):
    x = keras.Input((5, 3))
    tensors = tree.flatten(SEVERAL[kind]("several")(x))
    model = keras.Model(x, layers.Dense(2, name="end")(layers.Flatten()(tensors[used])))
    batch = batch_for(model)
    values = [l2(tensor) for tensor in outputs(keras.Model(x, tensors), batch)]
    references = ["several", *(f"several:{i}" for i in range(1, len(tensors)))]
    keys = ["several_penalty", *(f"several_output_{i}_penalty" for i in range(1, len(tensors)))]
    logs = logs_of(kp.penalize(model, dict.fromkeys(references, L2)), batch)
    assert logs == {key: pytest.approx(value, rel=1e-5) for key, value in zip(keys, values, strict=True)}
    hidden = kp.models.HiddenOutputs(model, hidden={f"h{i}": name for i, name in enumerate(references)})
    hidden.compile("sgd", hidden_losses={f"h{i}": L2 for i in range(len(values))})
    logs = hidden.evaluate(batch, np.zeros((4, 2)), verbose=0, return_dict=True)
    assert [logs[f"h{i}_loss"] for i in range(len(values))] == pytest.approx(values, rel=1e-5)


def test_an_unused_output_inside_a_nested_model_and_of_a_second_use():
    x = keras.Input((5, 3))
    gru = layers.GRU(4, return_state=True, name="gru")
    (first, unused), (_, state) = gru(x), gru(-x)
    inner = keras.Model(x, layers.Add()([first, state]), name="inner")
    y = keras.Input((5, 3))
    model = keras.Model(y, layers.Dense(1)(inner(y)))
    batch = batch_for(model)
    unused_value, value = map(l2, outputs(keras.Model(x, [unused, state]), batch))
    logs = logs_of(kp.penalize(model, {"inner/gru@1:1": L2}), batch)
    assert logs == {"gru_output_1_penalty": pytest.approx(value, rel=1e-5)}
    with pytest.raises(ValueError, match="'inner/gru@0:1', one use of a layer.*Name 'inner/gru:1'"):
        kp.penalize(model, {"inner/gru@0:1": L2})
    logs = logs_of(kp.penalize(model, {"inner/gru:1": L2}), batch)
    assert sum(logs.values()) == pytest.approx(value + unused_value, rel=1e-5)


# All but what a file is made of: there a penalized model says more than a plain one.
PUBLIC = sorted(name for name in public_names(keras.Model) if name not in ("get_config", "from_config"))


def replacing(name, base=keras.Model):
    """A class that replaces a method or property by one that does the same."""
    kept = getattr_static(keras.Sequential if base is keras.Sequential else type(functional()), name)
    if isinstance(kept, property):
        return type("Own", (base,), {name: property(lambda self: kept.fget(self), kept.fset)})
    if isinstance(kept, classmethod):
        return type("Own", (base,), {name: classmethod(lambda cls, *a, **k: kept.__func__(cls, *a, **k))})
    return type("Own", (base,), {name: lambda self, *args, **kwargs: kept(self, *args, **kwargs)})


def functional(cls=keras.Model):
    x = keras.Input((3,))
    return cls(x, layers.Dense(2, name="a")(x))


def sequential(cls=keras.Sequential):
    return cls([keras.Input((3,)), layers.Dense(2, name="a")])


@pytest.mark.parametrize(("build", "base"), [(functional, keras.Model), (sequential, keras.Sequential)])
def test_every_method_that_keras_has_and_a_class_replaces(build, base):
    """`penalize` keeps the method. `HiddenOutputs` calls that of the wrapped model, or raises an error."""
    assert {"fit", "evaluate", "predict", "train_on_batch", "compile", "get_metrics_result"} <= LOST
    for name in PUBLIC:
        model = build(replacing(name, base))
        penalized = kp.penalize(model, {"a": L2})
        assert isinstance(penalized, type(model))
        kept, own = (getattr_static(type(m), name) for m in (penalized, model))
        assert unwrap(kept) is unwrap(own)  # Keras wraps the `build` of each class
        if name in LOST:
            with pytest.raises(ValueError, match=f"(?s)`model` of HiddenOutputs must train.*own `{name}`"):
                kp.models.HiddenOutputs(model, hidden=["a"])
        else:
            kp.models.HiddenOutputs(model, hidden=["a"])


def test_what_a_model_carries_beside_its_graph():
    model = functional()
    model.beside, model.notes = layers.Dense(2, name="beside"), {"classes": ["a", "b"]}
    model.beside.build((None, 3))
    penalized = kp.penalize(model, {"a": L2})
    assert penalized.beside is model.beside and penalized.notes == model.notes
    assert {id(v) for v in model.variables} <= {id(v) for v in penalized.variables}
    for wrapped in (penalized, kp.models.HiddenOutputs(model, hidden=["a"])):
        wrapped(np.ones((2, 3), "float32"))
        assert len(wrapped.losses) == (1 if wrapped is penalized else 0)


def test_a_trained_model_replaces_nothing():
    model = functional()
    model.compile("sgd", lambda y, y_pred: keras.ops.mean(y_pred, axis=-1))
    model.fit(np.ones((2, 3)), np.ones((2, 2)), verbose=0)
    model.predict(np.ones((2, 3)), verbose=0)
    kp.models.HiddenOutputs(model, hidden=["a"])


def test_a_method_of_one_model_alone():
    model = functional()
    model.train_step = lambda *args: {"mine": keras.ops.zeros(())}
    with pytest.raises(ValueError, match="own `train_step`"):
        kp.models.HiddenOutputs(model, hidden=["a"])


def documented():
    """The rows of the docs' table of log keys: a key of `penalties`, and the names in the logs."""
    page = (ROOT / "docs" / "pretrained.md").read_text()
    table = page[page.index("| key | in the logs |") :].split("\n\n")[0]
    rows = [row.split("|")[1:3] for row in table.splitlines()[2:]]
    return [(re.search('"(.*?)"', key)[1], re.findall("`(.*?)`", keys)) for key, keys in rows]


@pytest.mark.parametrize(("key", "keys"), documented())
def test_log_keys_are_the_documented_ones(key, keys):
    x = keras.Input((5, 3))
    towers = []
    for side in ("left", "right"):
        start = keras.Input((4,))
        towers.append(keras.Model(start, layers.Dense(2, name="dense")(start), name=side))
    steps, _, cell = layers.LSTM(4, return_sequences=True, return_state=True, name="lstm")(x)
    encoder = layers.Dense(4, name="encoder")
    h = layers.Add(name="add")([encoder(cell), encoder(layers.GlobalMaxPooling1D()(steps))])
    h = layers.Concatenate()([tower(h) for tower in towers])
    model = keras.Model(x, layers.Dense(2, "softmax", name="digits")(h))
    logs = logs_of(kp.penalize(model, {key: L2}), batch_for(model))
    assert list(logs) == keys
    assert min(logs.values()) > 0.0
