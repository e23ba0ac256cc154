"""Check that a penalty keeps the rules of this package."""

from collections.abc import Sequence

import numpy as np

from keras_penalties._keras.deprecations import without_deprecations
from keras_penalties._types import Tensors
from keras_penalties.regularizers import Penalty
from keras_penalties.testing._rules import RULES
from keras_penalties.testing._subject import Broken, Subject


def check_penalty(
    penalty: Penalty, shape: Sequence[int] = (8, 6), inputs: Tensors = None, skip: Sequence[str] = ()
) -> None:
    """Check that a penalty of your own keeps the rules that every penalty of this package keeps.

    Call it in a test of your project, once for each set of arguments that matters. It takes a few seconds. If
    a rule is broken, it raises an `AssertionError`; if all are kept, it returns nothing.

    | rule | what is checked |
    |---|---|
    | `"value"` | the value is one finite number, the same each time |
    | `"float64"` | float64 input gives a float64 value, which agrees with float32 |
    | `"half precision"` | float16 and bfloat16 give the value of float64, also for activations of about 300 |
    | `"mask"` | what a mask drops, even a NaN, counts in neither the value nor the gradient |
    | `"padding"` | longer padding, which a mask drops, changes nothing |
    | `"batch size"` | the value does not grow with the batch, as a sum over all rows would |
    | `"finite"` | value and gradient are finite for zeros, constant features, one row and no row |
    | `"equal rows"` | equal rows count as equal, although their mean is rounded |
    | `"gradient"` | there is a gradient; finite differences match it (at a kink, a slope between its sides) |
    | `"config"` | `from_config(get_config())` makes the same penalty |
    | `"strength"` | the strength is a factor, which `measure` leaves out |
    | `"attaching"` | each way to attach the penalty adds strength * measure to the loss |
    | `"saving"` | a saved model adds the same number after it is loaded |
    | `"compiled"` | a compiled training step adds and logs the same number |

    The penalty itself is not changed. Copies of it, made from its config, are attached: by `ActivityPenalty`
    and, if it measures one tensor, by `activity_regularizer=` and `penalize` too.

    Args:
        penalty: an instance of your class.
        shape: the shape of the random activations: the batch, then positions if your penalty needs them, then
            the features; for a penalty with an `axis`, the features are on that axis. If the penalty compares
            several tensors, each has this shape. Activations are normal, or between 0 and 1 if the penalty
            sets `outside_0_and_1`. Defaults to (8, 6).
        inputs: activations for a penalty that accepts only some values, or tensors of different shapes: an
            array, or a list of arrays if the penalty compares several tensors. Defaults to random ones.
        skip: names of rules that are not checked, for a penalty that breaks one on purpose. Defaults to none.

    Example:

    >>> import keras, keras_penalties as kp
    >>> from keras import ops
    >>> @keras.saving.register_keras_serializable("my_project")
    ... class Spread(kp.regularizers.BatchStatisticPenalty):
    ...     def statistic(self, rows, weights):
    ...         mean = ops.sum(rows * weights[:, None], axis=0)
    ...         # wrong: counts the rows that a mask drops
    ...         return ops.mean(ops.square(rows - mean))
    >>> kp.testing.check_penalty(Spread(0.1))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    AssertionError: Spread breaks the rule "mask": what a mask drops, even a NaN, ...
    ...

    Raises:
        AssertionError: if a rule is broken. The message names the rule, the input, what was expected and what
            was received, and says what to do.
        TypeError: if `penalty` is not an instance of a penalty class.
        ValueError: if `shape` or `inputs` do not fit the penalty, or `skip` names no rule.
    """
    if not isinstance(penalty, Penalty):
        raise TypeError(
            "`penalty` of check_penalty must be an instance of a subclass of "
            f"`keras_penalties.regularizers.Penalty`. Received: {penalty!r} (type {type(penalty).__name__})."
        )
    unknown = sorted(set(skip) - set(RULES))
    if unknown:
        raise ValueError(
            f"`skip` of check_penalty must contain names of rules: {', '.join(map(repr, RULES))}. "
            f"Received: {unknown}."
        )
    with without_deprecations():
        for xs in _drawn(penalty, shape) if inputs is None else [_as_arrays(penalty, inputs)]:
            subject = Subject(penalty, xs, "random activations" if inputs is None else "`inputs`")
            for name, rule in RULES.items():
                if name not in skip:
                    _check(subject, name, rule)


def _check(subject, name, rule):
    try:
        rule.check(subject)
    except Exception as error:
        expected, received = "no error", f"{type(error).__name__}: {error}"
        if isinstance(error, Broken):
            expected, received = error.args
        raise AssertionError(
            f'{type(subject.penalty).__name__} breaks the rule "{name}": {rule.text}.\n'
            f"Input: {subject.case}\nExpected: {expected}\nReceived: {received}\n{rule.advice}"
        ) from (error.__cause__ if isinstance(error, Broken) else error)


def _drawn(penalty, shape):
    """Random activations for each number of tensors that the penalty compares."""
    random = np.random.default_rng(0)
    for count in penalty.tensors if isinstance(penalty.tensors, tuple) else [penalty.tensors]:
        shapes = [shape] * count
        if penalty.outside_0_and_1 is None:
            yield [random.normal(size=shape) for shape in shapes]
        else:
            yield [random.uniform(0.05, 0.95, size=shape) for shape in shapes]


def _as_arrays(penalty, inputs):
    return [np.asarray(x, "float64") for x in penalty.as_list(inputs)]
