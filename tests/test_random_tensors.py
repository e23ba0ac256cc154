"""Every exported penalty and loss on whatever tensor hypothesis thinks of, the contract's clauses at once.

`pytest tests/test_random_tensors.py --hypothesis-profile=deep` looks twenty times as long.
"""

import keras
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras import ops

import keras_penalties as kp
from tests.contracts import PENALTIES
from tests.contracts_pairs import SEVERAL_TENSORS
from tests.losses.cases import CASES
from tests.support.helpers import dtype_of, gradient, tensor, to_numpy

# JAX compiles for every shape; the formulas are compiled there by the tests of the contract.
pytestmark = pytest.mark.backends("tensorflow", "torch")
by_penalty = pytest.mark.parametrize("case", PENALTIES, ids=lambda case: case.name)
by_pair = pytest.mark.parametrize("case", SEVERAL_TENSORS, ids=lambda case: case.name)
by_loss = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)

dtypes = st.sampled_from(["float32", "float16", "bfloat16"])
strengths = st.sampled_from([0.0, 1e-8, 0.3, 1.0, 1e4])
NUMBERS = st.floats(-4, 4, width=16) | st.sampled_from([0.0, 1.0, -1.0, 0.5, 2.0**-10])
CLOSE = {"rtol": 1e-3, "atol": 2e-5}
SIZES = st.integers(1, 4)


@st.composite
def shapes(draw, least=0, most=3):
    """A batch, which may be empty, `least` to `most` position axes, and features."""
    positions = draw(st.lists(SIZES, min_size=least, max_size=most))
    return (draw(st.integers(0, 4)), *positions, draw(SIZES))


@st.composite
def masks(draw, shape):
    """None, or booleans of a prefix of `shape` without the features."""
    if draw(st.booleans()):
        return None
    return draw(arrays.arrays(bool, shape[: draw(st.integers(1, max(1, len(shape) - 1)))]))


@st.composite
def activations(draw, case):
    """What `case` is made for, its features last: numbers that half precision holds, or its own draw."""
    shape = draw(shapes(*case.positions))
    assume(case.takes(shape))
    if case.inputs.__name__ == "normal" and draw(st.booleans()):
        return draw(arrays.arrays("float32", shape, elements=NUMBERS))
    return case.inputs(np.random.default_rng(draw(st.integers(0, 99))), shape).astype("float32")


@by_penalty
@given(data=st.data(), dtype=dtypes, strength=strengths)
def test_a_penalty_of_any_tensor(case, data, dtype, strength):
    x = data.draw(activations(case))
    assume(case.axis == -1 or x.ndim > 2)
    if case.positions[0] == 0 and x.shape[1:] == (1,) and case.axis == -1:
        x = x[:, 0]  # one number an example
    mask = data.draw(masks(x.shape)) if case.axis == -1 else None
    x = tensor(case.arrange(x), dtype)
    exact = to_numpy(x)
    value = case.measure(x, mask)
    assert dtype_of(value) == "float32"
    np.testing.assert_allclose(float(value), case.expected(exact, mask), **CLOSE)
    assert float(value) >= 0.0 or case.signed
    assert np.all(np.isfinite(gradient(case.measure, ops.cast(x, "float32"), mask)))
    if not case.in_measure:
        added = kp.layers.ActivityPenalty(case.make(strength=strength))
        added(x, mask=None if mask is None else ops.convert_to_tensor(mask))
        np.testing.assert_allclose(float(sum(added.losses)), strength * float(value), rtol=1e-5)


@pytest.mark.parametrize("case", [c for c in PENALTIES if c.axis == -1], ids=lambda case: case.name)
@given(data=st.data(), garbage=st.sampled_from([0.0, 7.0, np.nan, np.inf]), rows=SIZES, steps=SIZES)
def test_padding_of_any_tensor_changes_nothing(case, data, garbage, rows, steps):
    x = data.draw(activations(case))
    mask = data.draw(masks(x.shape))
    mask = np.ones(x.shape[:1], bool) if mask is None else mask
    mask = np.broadcast_to(mask.reshape(mask.shape + (1,) * (x.ndim - 1 - mask.ndim)), x.shape[:-1])
    widths = [(0, rows), *((0, steps),) * (x.ndim - 2)]
    padded = np.pad(x, [*widths, (0, 0)], constant_values=garbage)
    more = np.pad(mask, widths, constant_values=False)
    np.testing.assert_allclose(
        float(case.measure(padded, more)), float(case.measure(x, mask)), rtol=1e-4, atol=1e-5
    )


@by_pair
@given(data=st.data(), dtype=dtypes)
def test_a_penalty_of_any_several_tensors(case, data, dtype):
    shape = data.draw(shapes(least=case.positions, most=1))
    drawn = [data.draw(arrays.arrays("float32", shape, elements=NUMBERS)) for _ in range(case.count)]
    xs = [tensor(x / 2, dtype) for x in drawn]
    kept = [data.draw(masks(shape)) for _ in range(case.count)]
    exact = [to_numpy(x) for x in xs]
    value = case.make().measure(xs, kept)
    assert dtype_of(value) == "float32"
    np.testing.assert_allclose(float(value), case.reference(exact, kept), rtol=2e-3, atol=1e-4)
    assert np.isfinite(float(value))
    for i in case.reached:
        assert np.all(np.isfinite(case.slope(i, [ops.cast(x, "float32") for x in xs])))


@by_penalty
@given(strength=st.floats(0, 1e6), name=st.text("ab_", min_size=1, max_size=5))
def test_any_config_comes_back(case, strength, name):
    changes = {} if case.in_measure else {"strength": strength}
    layer = kp.layers.ActivityPenalty(case.make(**changes), name=name, training_only=len(name) > 2)
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(again) == config
    assert again.penalty.get_config() == case.make(**changes).get_config()


@by_loss
@given(data=st.data(), dtype=dtypes, rows=st.integers(1, 6))
def test_a_loss_of_any_batch(case, data, dtype, rows):
    y, p = case.draw(np.random.RandomState(data.draw(st.integers(0, 999))), rows)
    p = tensor(p, dtype)
    weights = data.draw(arrays.arrays("float32", (rows,), elements=st.sampled_from([0.0, 0.5, 1.0, 3.0])))
    expected = case.reference(to_numpy(tensor(y, dtype)), to_numpy(p))
    found = to_numpy(case.function(tensor(y, dtype), p, **case.options))
    np.testing.assert_allclose(found, expected, rtol=2e-2 if dtype == "bfloat16" else 2e-3, atol=1e-5)
    loss = case.make()(tensor(y), ops.cast(p, "float32"), sample_weight=weights)
    rounded = case.reference(y, to_numpy(p))
    np.testing.assert_allclose(float(loss), np.mean(rounded * weights), rtol=2e-3, atol=1e-5)
