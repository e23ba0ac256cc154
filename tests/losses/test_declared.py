"""What the class of a loss refuses, its function refuses too: arguments, labels and predictions."""

import inspect
import re

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from keras_penalties.losses._declared import declared
from tests.losses.batch_cases import BATCH_CASES
from tests.losses.batch_cases import draw as draw_batch
from tests.losses.cases import CASES
from tests.support.helpers import BACKEND, tensor

BY_FUNCTION = {case.function: case for case in [*BATCH_CASES, *CASES][::-1]}
FUNCTIONS = [f for f in (getattr(kp.losses, name) for name in kp.losses.__all__) if not inspect.isclass(f)]
ARGUMENTS = [(f, argument) for f in FUNCTIONS for argument in list(inspect.signature(f).parameters)[2:]]
BAD = [-5.0, -1, 0, 0.0, 0.5, 1, 2.0, 7, 10**6, 1e300, float("nan"), float("inf"), True, False, None]
BAD += ["foo", "cosine", "False", [], [1.0], (), {}, np.float32(-1.0), np.ones(2), 1j, object()]

by_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)


def drawn(function):
    case = BY_FUNCTION[function]
    if case in BATCH_CASES:
        return draw_batch()
    return case.draw(np.random.RandomState(0), 7)


def outcome(call, names):
    """The error of a call, without the names of the function and its class; None if there is none."""
    try:
        call()
    except Exception as error:
        return type(error), re.sub(rf"of ({'|'.join(names)}) ", "of LOSS ", str(error))
    return None


def outcomes(function, y, p, **arguments):
    """What the function does, and what its class does."""
    cls = BY_FUNCTION[function].cls
    names = function.__name__, cls.__name__
    return (
        outcome(lambda: function(y, p, **arguments), names),
        outcome(lambda: cls(**arguments, reduction="sum")(y, p), names),
    )


def test_each_function_has_a_class():
    assert set(BY_FUNCTION) == set(FUNCTIONS)
    for function, case in BY_FUNCTION.items():
        taken = list(inspect.signature(case.cls.__init__).parameters)[1:]
        own = [name for name in taken if name not in ("reduction", "name", "dtype")]
        assert own == list(inspect.signature(function).parameters)[2:]


@pytest.mark.parametrize("function, argument", ARGUMENTS, ids=lambda x: getattr(x, "__name__", x))
def test_a_function_refuses_the_arguments_that_its_class_refuses(function, argument):
    (y, p), refused = drawn(function), 0
    for bad in BAD:
        ours, theirs = outcomes(function, y, p, **{argument: bad})
        # An axis that is there, but is not that of the classes, may end in an error of the backend.
        assert (ours and ours[0]) == (theirs and theirs[0]), (argument, bad, ours, theirs)
        if ours and ours[0] in (TypeError, ValueError):
            assert f"`{argument}` of LOSS" in ours[1], (argument, bad, ours)
            assert ours == theirs
            refused += 1
    assert refused > 5


def labels(y):
    """Labels of all kinds, most of which one loss or another does not take."""
    ids = np.arange(len(y))
    yield from (ids, ids + 0.5, ids - 1, ids + 2**24, np.where(ids == 1, np.nan, ids), ids == 0)
    yield from (np.eye(len(y)), 2 * np.eye(len(y)), np.ones((len(y), 3)))
    yield from (y, y + 1, y - 0.5, -y, 0 * y, np.where(y == y.max(), np.nan, y), y[:-1], y[None])


@by_function
def test_a_function_refuses_the_labels_that_its_class_refuses(function):
    (y, p), refused = drawn(function), 0
    for bad in labels(y):
        ours, theirs = outcomes(function, bad.astype("float32"), p)
        assert (ours and ours[0]) == (theirs and theirs[0]), (bad, ours, theirs)
        refused += ours is not None and "`y_true` of" in ours[1]
    assert refused > 2


@by_function
def test_a_function_refuses_the_predictions_that_its_class_refuses(function):
    (y, p), refused = drawn(function), 0
    for bad in (p + 1, p - 1, -p, 0 * p, 100 * p, np.where(p == p.max(), np.nan, p), p[:-1], p[None]):
        ours, theirs = outcomes(function, y, bad.astype("float32"))
        assert (ours and ours[0]) == (theirs and theirs[0]), (bad, ours, theirs)
        refused += ours is not None
    assert refused


@by_function
def test_values_are_not_looked_at_in_a_compiled_step(function):
    y, p = drawn(function)
    y, p = tensor(y.astype("float32") + 0.5), tensor(-1.0 - np.abs(p))

    def loss(p):
        return ops.sum(function(y, p))

    if BACKEND == "tensorflow":
        import tensorflow as tf

        tf.function(loss, autograph=False)(p)
    elif BACKEND == "jax":
        import jax

        jax.jit(jax.grad(loss))(p)
    else:
        import torch

        torch.func.grad(loss)(p)


@by_function
def test_an_argument_that_is_assigned_is_checked_as_one_that_is_given(function):
    loss, (y, p) = BY_FUNCTION[function].cls(), drawn(function)
    for argument in loss.arguments:
        loss = BY_FUNCTION[function].cls()
        setattr(loss, argument, "foo")
        with pytest.raises((TypeError, ValueError), match=f"`{argument}` of {type(loss).__name__} must be"):
            loss(y, p)


@by_function
def test_a_call_with_an_argument_too_many(function):
    y, p = drawn(function)
    with pytest.raises(TypeError, match=rf"{function.__name__}\(\) got an unexpected keyword argument 'foo'"):
        function(y, p, foo=1)
    with pytest.raises(TypeError, match=rf"{function.__name__}\(\) too many positional arguments"):
        function(y, p, *range(9))
    with pytest.raises(TypeError, match=rf"{function.__name__}\(\) missing a required argument: 'y_pred'"):
        function(y)


@by_function
def test_a_function_is_saved_by_its_name(function):
    assert keras.saving.get_registered_name(function) == f"keras_penalties>{function.__name__}"
    config = keras.saving.serialize_keras_object(function)
    assert keras.saving.deserialize_keras_object(config) is function


def test_a_function_cannot_forget_to_check_an_argument():
    with pytest.raises(
        TypeError, match=r"`declared` of loss must have one check for each .*\['a', 'b'\].*\['b'\]"
    ):

        @declared(b=lambda value, argument, owner: value)
        def loss(y_true, y_pred, a=1, b=2):
            return y_pred
