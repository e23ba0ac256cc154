"""What a user's formula returns: the wrong shape or type is an error, never a wrong number."""

import warnings

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops

import keras_penalties as kp
from tests.support.helpers import BACKEND, dtype_of

R = kp.regularizers
X = np.arange(1.0, 13.0, dtype="float32").reshape(4, 3)
MASKS = {"no mask": None, "a mask": np.array([True, True, False, True])}
FLOATS = "Comparisons, counts and rounded numbers have no gradient"

WRONG = {
    "elements": {
        "a scalar": (ops.mean, r"shape \(4, 3\)\. Received: shape \(\)"),
        "one per example": (lambda x: ops.sum(x, axis=1), r"shape \(4, 3\)\. Received: shape \(4,\)"),
        "a column": (lambda x: ops.sum(x, axis=1, keepdims=True), r"Received: shape \(4, 1\)"),
        "a row": (lambda x: ops.mean(x, axis=0, keepdims=True), r"Received: shape \(1, 3\)"),
        "one per feature": (lambda x: ops.mean(x, axis=0), r"Received: shape \(3,\)"),
        "the transpose": (ops.transpose, r"Received: shape \(3, 4\)"),
    },
    "examples": {
        "a scalar": (ops.mean, r"shape \(4,\)\. Received: shape \(\)"),
        "a column": (lambda x: ops.sum(x, axis=1, keepdims=True), r"Received: shape \(4, 1\)"),
        "one per element": (ops.square, r"Received: shape \(4, 3\)"),
        "one per feature": (lambda x: ops.sum(x, axis=0), r"Received: shape \(3,\)"),
    },
    "statistic": {
        "one per feature": (lambda x: ops.sum(x, axis=0), r"a scalar: shape \(\)\. Received: shape \(3,\)"),
        "one of one": (lambda x: ops.reshape(ops.sum(x), (1,)), r"Received: shape \(1,\)"),
        "parts": (
            lambda x: {"a": ops.sum(x)},
            r"a scalar, as it has no `parts`\. Received: a dict .*\['a'\]",
        ),
    },
    "value": {
        "one per example": (lambda x: ops.sum(x, axis=1), r"a scalar: shape \(\)\. Received: shape \(4,\)"),
        "parts": (
            lambda x: {"a": ops.sum(x)},
            r"a scalar, as it has no `parts`\. Received: a dict .*\['a'\]",
        ),
    },
}
WRONG_TYPES = {
    "nothing": (lambda x: None, r"Received: None\. Does it end in a `return`"),
    "booleans": (lambda x: x > 2, rf"in floats\. Received: dtype=bool\. {FLOATS}"),
    "integers": (lambda x: ops.cast(x, "int32"), rf"in floats\. Received: dtype=int32\. {FLOATS}"),
    "a word": (
        lambda x: "none",
        r"(as a tensor|in floats)\. Received: ('none' \(of type str\)|dtype=string)",
    ),
}
FAMILIES = {
    "elements": R.PerExamplePenalty,
    "examples": R.PerExamplePenalty,
    "statistic": R.BatchStatisticPenalty,
    "value": R.Penalty,
}


def penalty(method, fn, several=False, **options):
    """A penalty whose `method` returns `fn(x)`."""

    def formula(self, x, *args):
        return fn(x[0] if several else x)

    members = {method: formula, "tensors": 2 if several else 1}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return type("Own", (FAMILIES[method],), members)(0.5, **options)


def use(way, penalty, x, mask):
    if way == "measure":
        return penalty.measure(x, mask)
    return kp.layers.ActivityPenalty(penalty)(x, mask=mask)


def in_a_step(penalty, mask):
    """`measure` in a compiled step, in which TensorFlow does not know the batch size."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec((None, 3), "float32")]
        return tf.function(lambda x: penalty.measure(x, mask), input_signature=signature, autograph=False)
    if BACKEND == "jax":
        import jax

        return jax.jit(lambda x: penalty.measure(x, mask))
    return lambda x: penalty.measure(ops.convert_to_tensor(x), mask)


ALL = [(method, *wrong) for method, kinds in WRONG.items() for wrong in kinds.values()]
ALL += [(method, *wrong) for method in WRONG for wrong in WRONG_TYPES.values()]
NAMES = [f"{method}-{kind}" for method, kinds in WRONG.items() for kind in kinds]
NAMES += [f"{method}-{kind}" for method in WRONG for kind in WRONG_TYPES]


@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize("method, fn, words", ALL, ids=NAMES)
def test_is_refused(method, fn, words, masked):
    for options in [{}, {"per": "element"}] if method in ("elements", "examples") else [{}]:
        own = penalty(method, fn, **options)
        for way in ("measure", "layer"):
            with pytest.raises(
                (TypeError, ValueError), match=rf"`{method}\(.*\)` of Own must return .*{words}"
            ):
                use(way, own, X, MASKS[masked])
        with pytest.raises((TypeError, ValueError), match=rf"`{method}\(.*\)` of Own must return .*"):
            in_a_step(own, MASKS[masked])(X)


@pytest.mark.parametrize("method, fn, words", ALL, ids=NAMES)
def test_of_two_tensors_is_refused_too(method, fn, words):
    own = penalty(method, fn, several=True)
    with pytest.raises((TypeError, ValueError), match=rf"`{method}\(.*\)` of Own must return .*{words}"):
        own.measure([X, X])


@given(st.lists(st.integers(1, 4), max_size=3), st.lists(st.integers(1, 4), min_size=2, max_size=3))
def test_only_the_shape_of_x_is_a_shape_of_elements(returned, shape):
    own, x = penalty("elements", lambda x: ops.ones(returned)), np.ones(shape, "float32")
    if returned == shape:
        np.testing.assert_allclose(float(own.measure(x)), np.prod(shape[1:]))
    else:
        with pytest.raises(ValueError, match="`elements"):
            own.measure(x)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_floats_of_another_type_are_summed_in_that_of_x(dtype):
    large = np.full((300, 300), 3.0, "float32")
    own = penalty("elements", lambda x: ops.cast(x, dtype))
    for mask in (None, np.ones(300, bool)):
        value = own.measure(large, mask)
        assert dtype_of(value) == "float32"
        np.testing.assert_allclose(float(value), 900.0)


def test_numbers_and_arrays_are_accepted():
    for value in (0.25, 1, np.float64(0.5), np.array(2.0)):
        for method in ("value", "statistic"):
            np.testing.assert_allclose(float(penalty(method, lambda x, v=value: v).measure(X)), float(value))
    own = penalty("elements", lambda x: np.ones((4, 3)))
    np.testing.assert_allclose(float(own.measure(X)), 3.0)


class TestParts:
    """What a penalty is the sum of."""

    @staticmethod
    def make(parts, returned, family=R.Penalty):
        method = "value" if family is R.Penalty else "statistic"
        members = {method: lambda self, x, other: returned(x), "parts": parts}
        with pytest.warns(UserWarning, match="not registered"):
            return type("Own", (family,), members)(0.5)

    @pytest.mark.parametrize("family", [R.Penalty, R.BatchStatisticPenalty])
    def test_each_has_to_be_there(self, family):
        both = {"a": 1.0, "b": 2.0}
        np.testing.assert_allclose(float(self.make(("a", "b"), lambda x: both, family).measure(X)), 3.0)
        for parts, returned, words in (
            (("a",), both, r"the keys \('a',\), its `parts`\. Received: a dict with the keys \['a', 'b'\]"),
            (("a", "b", "c"), both, r"the keys \('a', 'b', 'c'\), its `parts`\. Received: a dict"),
            (("a", "b"), 1.0, r"the keys \('a', 'b'\), its `parts`\. Received: float"),
            (("a", "b"), {"a": 1.0, "b": np.ones(2)}, r"'b' of `.*` of Own must return a scalar: .*\(2,\)"),
        ):
            with pytest.raises(ValueError, match=words):
                self.make(parts, lambda x, value=returned: value, family).measure(X)


def test_what_is_compared_with_the_help_of_weights():
    class Own(R.PerExamplePenalty):
        tensors = 2

        def with_learned(self, xs, learned):
            return xs[0]

        def elements(self, x):
            return ops.square(x[0] - x[1])

    with pytest.warns(UserWarning, match="not registered"):
        own = Own(0.1)
    with pytest.raises(
        ValueError, match=r"`with_learned\(xs, learned\)` of Own must return a list of 2.*Received: "
    ):
        own.measure([X, X])


@pytest.mark.parametrize(
    "returned, words",
    [
        (lambda y, h: None, "must return a scalar or one value for each example. Received: None"),
        (lambda y, h: h > 0, "must return a scalar or .*, in floats. Received: dtype=bool"),
        (
            lambda y, h: ops.sum(ops.cast(h, "int32")),
            "must return a scalar or .*, in floats. Received: dtype=int32",
        ),
    ],
    ids=["nothing", "booleans", "integers"],
)
@pytest.mark.parametrize("argument", ["hidden_losses", "joint_loss"])
def test_a_loss_function_that_returns_no_floats(argument, returned, words):
    def own(y_true, *others):
        hidden = others[-1]
        return returned(y_true, hidden["h"] if isinstance(hidden, dict) else hidden)

    start = keras.Input((3,))
    model = keras.Model(start, keras.layers.Dense(3)(keras.layers.Dense(3, name="h")(start)))
    model = kp.models.HiddenOutputs(model, hidden=["h"])
    model.compile(
        "sgd", "mse", **{argument: {"h": own} if argument == "hidden_losses" else own}, run_eagerly=True
    )
    with pytest.raises(Exception, match=f"The function `own` {words}"):
        model.fit(X, X, verbose=0)
