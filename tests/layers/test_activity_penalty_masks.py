"""Masks that an ActivityPenalty is given: its own, of the tensor, and with as many axes as the tensor."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.layers.networks import compiled
from tests.support import references
from tests.support.helpers import to_numpy

R = kp.regularizers


@pytest.fixture
def flagged():
    """Rows, labels, and which of the rows a penalty is to count."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(8, 3)).astype("float32"), random.normal(size=(8, 3)).astype("float32")
    return x, y, np.arange(8) % 3 > 0


@pytest.mark.parametrize("eager", [False, True])
def test_the_main_loss_and_other_branches_do_not_see_a_mask_of_its_own(flagged, eager):
    x, y, flag = flagged
    inputs, flags = keras.Input((3,)), keras.Input((), dtype="bool")
    h = layers.Identity()(inputs)
    some = kp.layers.ActivityPenalty(R.L2(0.1), name="some")(h, mask=flags)
    every = kp.layers.ActivityPenalty(R.L2(0.2), name="every")(some)
    beside = kp.layers.ActivityPenalty(R.L2(0.3), name="beside")(h)
    model = compiled(keras.Model([inputs, flags], layers.Add()([every, beside])), run_eagerly=eager)
    logs = model.evaluate([x, flag], y, batch_size=8, verbose=0, return_dict=True)
    expected = {
        "some": 0.1 * references.l2(x[flag]),
        "every": 0.2 * references.l2(x),
        "beside": 0.3 * references.l2(x),
    }
    for key, value in expected.items():
        np.testing.assert_allclose(logs[key], value, rtol=1e-5, err_msg=key)
    main = np.mean((2 * x - y) ** 2)
    np.testing.assert_allclose(logs["loss"], main + sum(expected.values()), rtol=1e-5)


@pytest.mark.parametrize("ours", [[True, False, True, True, False], [False] * 5])
def test_what_follows_sees_the_mask_of_the_tensor(ours):
    """`Masking` drops the last two steps; the penalty is told to drop another one too, or all."""
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    x[:, 3:] = 0.0
    inputs = keras.Input((5, 3))
    h = layers.Activation("exponential")(layers.Masking()(inputs))
    mask = np.broadcast_to(np.array(ours), (2, 5))
    layer = kp.layers.ActivityPenalty(R.L1(1.0), name="some")
    outputs = layers.GlobalAveragePooling1D()(layer(h, mask=ops.convert_to_tensor(mask)))
    model = compiled(keras.Model(inputs, outputs))
    np.testing.assert_allclose(model.predict(x, verbose=0), np.exp(x[:, :3]).mean(axis=1), rtol=1e-5)
    logs = model.evaluate(x, np.zeros((2, 3)), verbose=0, return_dict=True)
    both = mask & (np.arange(5) < 3)
    np.testing.assert_allclose(logs["some"], references.l1(np.exp(x), both), rtol=1e-5)


def test_a_list_of_tensors_keeps_its_masks():
    from keras_penalties._keras.masks import get_keras_mask, set_keras_mask

    tensors = [ops.ones((2, 4, 3)), ops.ones((2, 4, 3))]
    own = ops.convert_to_tensor(np.eye(2, 4, dtype=bool))
    set_keras_mask(tensors[1], own)
    both = kp.layers.ActivityPenalty(R.Hint(1.0))(tensors, mask=[ops.ones((2, 4), "bool"), own])
    assert get_keras_mask(both[0]) is None and get_keras_mask(both[1]) is own


def attention(causal=False):
    """Attention over padded text, and the scores with the mask that Keras leaves with them."""
    ids = np.random.default_rng(0).integers(1, 20, (4, 6))
    ids[:2, 4:], ids[2, 1:] = 0, 0
    inputs = keras.Input((6,), dtype="int32")
    h = layers.Embedding(20, 8, mask_zero=True)(inputs)
    outputs, scores = layers.MultiHeadAttention(2, 4, name="mha")(
        h, h, return_attention_scores=True, use_causal_mask=causal
    )
    return ids, inputs, outputs, scores


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("penalty", ["Entropy", "Confidence", "L1"])
def test_attention_scores_of_padded_text(penalty, causal):
    """Keras masks them by `(batch, 1, queries, keys)`: a row is a distribution over its real keys."""
    ids, inputs, outputs, scores = attention(causal)
    penalized = kp.layers.ActivityPenalty(getattr(R, penalty)(0.1), name="scores")(scores)
    pooled = layers.GlobalAveragePooling1D()(outputs)
    model = compiled(keras.Model(inputs, [pooled, layers.Flatten()(penalized)]), loss=["mse", None])
    logs = model.evaluate(ids, np.zeros((4, 8)), verbose=0, return_dict=True)
    rows, examples = [], []
    for example, kept in zip(keras.Model(inputs, scores).predict(ids, verbose=0), ids > 0, strict=True):
        before = len(rows)
        for head in example.astype("float64"):
            for query in np.flatnonzero(kept):
                keys = kept & (np.arange(6) <= query if causal else True)
                rows.append(head[query][keys])
        examples.append(sum(np.abs(row).sum() for row in rows[before:]))
    entropies = [-np.sum(row * np.log(np.maximum(row, 1e-30))) for row in rows]
    expected = {
        "Entropy": np.mean(entropies),
        "Confidence": np.mean([np.log(len(row)) - e for row, e in zip(rows, entropies, strict=True)]),
        "L1": np.mean(examples),
    }
    np.testing.assert_allclose(logs["scores"], 0.1 * expected[penalty], rtol=1e-4, atol=1e-6)


def test_attention_scores_as_a_hidden_tensor():
    ids, inputs, outputs, scores = attention()
    model = keras.Model(inputs, layers.GlobalAveragePooling1D()(outputs))
    model = kp.models.HiddenOutputs(model, hidden={"scores": "mha:1"})
    compiled(model, hidden_losses={"scores": R.Entropy(0.1)})
    logs = model.evaluate(ids, np.zeros((4, 8)), verbose=0, return_dict=True)
    all_scores = keras.Model(inputs, scores).predict(ids, verbose=0).astype("float64")
    rows = [s[:, q][:, k] for s, k in zip(all_scores, ids > 0, strict=True) for q in np.flatnonzero(k)]
    expected = np.mean([-np.sum(r * np.log(np.maximum(r, 1e-30)), axis=-1).mean() for r in rows])
    np.testing.assert_allclose(logs["scores_loss"], 0.1 * expected, rtol=1e-4)


def test_a_statistic_of_rows_refuses_a_mask_of_single_features_when_the_model_is_built():
    _, _, _, scores = attention()
    with pytest.raises(ValueError, match="`mask` of DeCov drops single features of a row"):
        kp.layers.ActivityPenalty(R.DeCov(0.1))(scores, mask=keras.Input((1, 6, 6), dtype="bool"))
    with pytest.raises(ValueError, match="`mask` of DeCov must have"):
        kp.layers.ActivityPenalty(R.DeCov(0.1))(scores, mask=keras.Input((3, 6, 6), dtype="bool"))


def test_a_mask_of_its_own_leaves_the_tensor_as_it_was():
    """On PyTorch a mask is an attribute of the tensor, which others see too."""
    from keras_penalties._keras.masks import get_keras_mask

    x = ops.convert_to_tensor(np.arange(6.0, dtype="float32").reshape(2, 3))
    layer = kp.layers.ActivityPenalty(R.L1(1.0))
    layer(x, mask=ops.convert_to_tensor([True, False]))
    assert get_keras_mask(x) is None
    np.testing.assert_allclose(to_numpy(layer.losses[0]), 3.0)
