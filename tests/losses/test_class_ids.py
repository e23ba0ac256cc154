"""Class ids are compared as they are given: no dtype of a loss, a policy or `floatx` rounds them."""

import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from hypothesis import given
from keras import ops

import keras_penalties as kp
from tests.losses.batch_cases import BATCH_CASES
from tests.support.helpers import BACKEND, tensor, to_numpy

CASES = list({case.cls: case for case in BATCH_CASES[::-1]}.values())
by_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
DTYPES = ("float32", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")
KINDS = ("int32", "int64", "uint16", "uint32")
# Of which the half precisions merge some, and float32 some of the largest.
IDS = [1000, 1001, 1002, 3000, 3001, 65534, 65535]
LARGE = [2**24, 2**24 + 1, 2**31 - 2, 2**31 - 1]


@by_case
@given(
    st.sampled_from(DTYPES),
    st.sampled_from(KINDS),
    st.permutations(range(len(IDS) + len(LARGE))),
    st.sampled_from([(-1,), (-1, 1)]),
)
def test_other_names_of_the_classes_change_nothing(case, dtype, kind, order, shape):
    names = np.array(IDS + LARGE)[order]
    names = names[names <= np.iinfo(kind).max][:4]
    y, p = np.array([0, 1, 0, 2, 1, 3]), np.random.RandomState(0).randn(6, 3).astype("float32")
    loss = case.make(dtype=dtype, reduction=None)
    expected, found = loss(y.astype("int32"), p), loss(names.astype(kind)[y].reshape(shape), p)
    np.testing.assert_array_equal(to_numpy(found), to_numpy(expected))


@pytest.fixture
def float16():
    keras.config.set_floatx("float16")
    yield
    keras.config.set_floatx("float32")


@by_case
@pytest.mark.parametrize("way", ["loss", "hidden loss", "function as hidden loss"])
def test_a_model_in_float16_tells_classes_apart(case, way, float16):
    x = np.eye(3, dtype="float16")[[0, 1, 2, 0, 1, 2]] + np.linspace(0, 1, 18, dtype="float16").reshape(6, 3)
    y = np.array([0, 1, 0, 2, 1, 3])
    start = keras.Input((3,))
    h = keras.layers.Dense(3, kernel_initializer="identity", name="h")(start)
    model = kp.models.HiddenOutputs(keras.Model(start, h), hidden=["h"])
    given = case.function if way == "function as hidden loss" else case.make()
    loss, hidden = (given, {}) if way == "loss" else (None, {"h": given})
    model.compile(keras.optimizers.SGD(0.0), loss, hidden_losses=hidden)
    found = set()
    for names in (np.arange(4), np.array([3000, 3001, 2**24, 2**24 + 1])):
        labels = names[y].astype("int32")
        found.add(float(model.fit(x, labels, batch_size=6, verbose=0).history["loss"][0]))
        found.add(float(model.evaluate(x, labels, batch_size=6, verbose=0, return_dict=True)["loss"]))
    assert len(found) == 1 and np.isfinite(list(found)).all()


@by_case
@pytest.mark.parametrize("dtype, first", [("bfloat16", 2**8), ("float16", 2**11), ("float32", 2**24)])
def test_floats_that_may_be_rounded_are_refused(case, dtype, first):
    p = np.ones((3, 2), "float32")
    for call in (case.function, lambda y, p: case.make()(y, p)):
        call(tensor(np.array([0, 1, first - 1], "float32"), dtype), p)
        with pytest.raises(
            ValueError, match=f"below {first} if they .* dtype {dtype}.*Pass them as integers"
        ):
            call(tensor(np.array([0, 1, first], "float32"), dtype), p)


def test_floats_that_fit_will_round_are_refused(float16):
    """`fit` casts labels of floats to `floatx`."""
    with pytest.raises(ValueError, match="below 2048 if they are of dtype float32"):
        kp.losses.Triplet()(np.array([0.0, 1.0, 2048.0], "float32"), np.ones((3, 2), "float32"))


@pytest.mark.skipif(BACKEND == "torch", reason="nothing is compiled")
def test_a_function_in_keras_warns_that_its_labels_are_rounded(float16):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    x, y = np.ones((4, 2), "float16"), np.arange(4)
    model.compile("sgd", kp.losses.triplet)
    with pytest.warns(UserWarning, match="`y_true` of triplet is float16.* from 2048 on.*the class of the"):
        model.fit(x, y, verbose=0)


def test_no_warning_for_one_hot_labels_and_for_integers(float16, recwarn):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    x, y = np.ones((4, 2), "float16"), np.arange(4)
    model.compile("sgd", kp.losses.Triplet())
    model.fit(x, y, verbose=0)
    model.fit(x, np.eye(4), verbose=0)
    assert not [each for each in recwarn if "rounds class ids" in str(each.message)]


def test_centers_of_many_classes_in_half_precision():
    """The centre of the row's own class, and of no other, moves."""
    for dtype in ("float16", "bfloat16"):
        loss, x = kp.losses.Center(5000, rate=1.0, dtype=dtype), np.array([[4.0]], "float32")
        for label in (257, 2049, 4097):
            centers = loss.next_state(np.array([label]), x, centers=ops.zeros((5000, 1)))["centers"]
            assert list(np.flatnonzero(to_numpy(centers))) == [label]
            own = ops.cast(ops.reshape(ops.arange(5000), (-1, 1)) == label, "float32")
            assert float(loss(np.array([label]), x, centers=own * 4.0)) == 0.0
