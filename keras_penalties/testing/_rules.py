"""The rules that every penalty keeps, each with its check and with advice for those who break it."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from keras_penalties._keras.precision import float64, rounds_float64
from keras_penalties.testing._expect import expect_close, expect_finite
from keras_penalties.testing._gradient import check_gradient
from keras_penalties.testing._subject import STRENGTH, Broken, Case, Subject

LARGEST = 1e37  # larger numbers may overflow float32


def check_value(subject: Subject):
    case = Case(subject.about, subject.xs)
    value = subject.measure(case)
    expect_finite(value, [])
    if value.dtype != "float32" or np.ndim(value):
        raise Broken("a scalar of float32", f"{value.dtype} of shape {np.shape(value)}")
    expect_close(subject.measure(case), value, "the first time", rtol=1e-6, atol=0.0)


def check_float64(subject: Subject):
    nudges = [1.0 - 1e-9 * subject.random.uniform(0.5, 1.0, x.shape) for x in subject.xs]
    xs = [x * nudge for x, nudge in zip(subject.xs, nudges, strict=True)]
    with float64():
        of_rounded = subject.measure(Case("", [_rounded(x) for x in xs], dtype="float64"))
        case = Case(subject.about, xs, dtype="float64")
        value, slopes = subject.measure(case), subject.gradients(case)
    if value.dtype != "float64":
        raise Broken("a scalar of float64", f"{value.dtype}")
    # A value with a gradient changes with the last digits of `x`, and has such digits itself.
    if not rounds_float64() and value in (of_rounded, np.float32(value)) and any(map(np.any, slopes)):
        raise Broken("a value with the digits of float64", f"{value}, which was rounded to float32")
    expect_close(subject.measure(Case(subject.about, subject.xs)), value, "in float64")


def check_half_precision(subject: Subject):
    large = [subject.random.normal(300.0, 40.0, x.shape) for x in subject.xs]
    for about, xs in ((subject.about, subject.xs), ("activations of about 300", large)):
        for dtype in ("float16", "bfloat16"):
            rounded = [_rounded(x, dtype) for x in xs]
            if subject.accepts(rounded):
                with float64():
                    expected = subject.measure(Case(about, rounded, dtype="float64"))
                if np.abs(expected) < LARGEST:
                    received = subject.measure(Case(about, rounded, dtype=dtype))
                    expect_close(received, expected, "in float64", rtol=1e-3, atol=1e-5)
    if subject.accepts(large):
        with float64():
            slopes = subject.gradients(Case("activations of about 300", large, dtype="float64"))
        if all(np.all(np.abs(slope) < LARGEST) for slope in slopes):
            expect_finite(0.0, subject.gradients(Case("activations of about 300", large)))


def _rounded(x, dtype="float32"):
    x = ops.cast(ops.cast(ops.convert_to_tensor(x.astype("float32")), dtype), "float32")
    return ops.convert_to_numpy(x).astype("float64")


def check_mask(subject: Subject):
    for about, masks in _masks(subject):
        own = Case(f"{subject.about}, {about}", subject.xs, masks)
        if masks[0].ndim == 1:
            kept = [x[mask] for x, mask in zip(subject.xs, masks, strict=True)]
            expected = subject.measure(Case(f"{own.about} and left out", kept))
            expect_close(subject.measure(own), expected, "without the dropped examples")
        expected, slopes = subject.measure(own), subject.gradients(own)
        xs = [x.copy() for x in subject.xs]
        for x, mask in zip(xs, masks, strict=True):
            subject.by_rows(x)[~mask] = np.nan
        case = Case(f"{own.about}, with NaN there", xs, masks)
        expect_close(subject.measure(case), expected, "with other numbers there")
        for found, slope, mask in zip(subject.gradients(case), slopes, masks, strict=True):
            expect_close(subject.by_rows(found)[~mask], 0.0, "the gradient for what is dropped")
            expect_close(found, slope, "the gradient with other numbers there")


def _masks(subject):
    """Masks of examples, of positions, and of elements, with what they drop."""
    shapes = [subject.by_rows(x).shape for x in subject.xs]
    yield "every third example dropped", [np.arange(shape[0]) % 3 != 1 for shape in shapes]
    same = shapes.count(shapes[0]) == len(shapes)
    if len({len(shape) for shape in shapes}) == 1 and len(shapes[0]) > 2:
        yield "some positions dropped", [_some(shape[:-1]) for shape in shapes]
    if subject.penalty.masks_elements and same:
        yield "some elements dropped", [_some(shape) for shape in shapes]


def _some(shape):
    """A mask that keeps the first of all and about two thirds of the others: the same for the same shape."""
    kept = np.random.default_rng(0).uniform(size=shape) < 0.7
    kept[(0,) * len(shape)] = True
    return kept


def check_padding(subject: Subject):
    expected = subject.measure(Case(subject.about, subject.xs))
    xs, masks = [], []
    for x in subject.xs:
        rows = subject.by_rows(x)
        more = [(0, 2)] * (rows.ndim - 1)
        long = np.pad(rows, [*more, (0, 0)], constant_values=np.nan)
        xs.append(np.moveaxis(long, -1, subject.axis))
        masks.append(np.pad(np.ones(rows.shape[:-1], bool), more))
    case = Case(f"{subject.about}, padded with NaN that a mask drops", xs, masks)
    expect_close(subject.measure(case), expected, "without padding")


def check_batch_size(subject: Subject):
    values = []
    for times in (1, 2, 4, 8):
        case = Case(f"{subject.about}, {times} times", [np.concatenate([x] * times) for x in subject.xs])
        values.append(float(subject.measure(case)))
    # Each step doubles the batch. A mean, or an unbiased estimate of one, changes less with each step; a loss
    # that picks the own row among all, as InfoNCE does, by log(2) in each; a sum by twice as much.
    first, second, third = np.abs(np.diff(values))
    if first > 1e-4 * abs(values[0]) and second > 1.2 * first and third > 1.2 * second:
        raise Broken(f"about {values[0]:.6g} (for the batch alone)", f"{values[-1]:.6g}")


def check_finite(subject: Subject):
    xs = subject.xs
    rows = [subject.by_rows(x) for x in xs]
    first = [np.broadcast_to(r[(slice(0, 1),) * (r.ndim - 1)], r.shape) for r in rows]
    cases = [
        Case("zeros", [np.zeros_like(x) for x in xs]),
        Case("features that are constant", [np.moveaxis(r, -1, subject.axis) for r in first]),
        Case("one row", [x[:1] for x in xs]),
        Case("no row that counts", xs, [np.zeros(x.shape[:1], bool) for x in xs]),
    ]
    if len(xs) > 1 and len({x.shape for x in xs}) == 1:
        cases.append(Case("equal tensors", [xs[0]] * len(xs)))
    for case in cases:
        if subject.accepts(case.xs):
            expect_finite(subject.measure(case), subject.gradients(case))


def check_equal_rows(subject: Subject):
    xs = subject.xs
    equal = [np.repeat(x[:1].astype("float16").astype("float32"), 8, axis=0) for x in xs]
    if subject.accepts(equal):
        exact = subject.measure(Case("8 equal rows", equal))
        rounded = Case("7 equal rows, whose mean is rounded", [x[:7] for x in equal])
        expect_close(subject.measure(rounded), exact, "about as for 8 equal rows", rtol=0.3, atol=0.1)


def check_strength(subject: Subject):
    case = Case(subject.about, subject.xs)
    one, other = (subject.measure(case, subject.clone(strength)) for strength in (STRENGTH, 3 * STRENGTH))
    expect_close(other, one, f"with a third of the strength, {STRENGTH}")


def check_config(subject: Subject):
    case = Case(subject.about, subject.xs)
    expected = subject.measure(case)
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(subject.penalty)))
    again = keras.saving.deserialize_keras_object(saved)
    expect_close(subject.measure(case, again), expected, "before saving")


def check_attaching(subject: Subject):
    expected = subject.clone().strength * subject.measure(Case(subject.about, subject.batch))
    subject.case = "a model with the penalty"
    for way, loss in zip(subject.ways, subject.losses(subject.model), strict=True):
        subject.case = f"a model with the penalty, attached by `{way}`"
        expect_close(loss, loss if subject.learns else expected, "strength * measure")


def check_saving(subject: Subject):
    subject.case = "a saved model with the penalty"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.keras"
        subject.model.save(file)
        loaded = keras.saving.load_model(file)
    expect_close(np.array(subject.losses(loaded)), np.array(subject.losses(subject.model)), "before saving")


def check_compiled(subject: Subject):
    xs, model = subject.batch, subject.model
    expected = subject.losses(model)
    subject.case = "a training step of a compiled model"
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    x = xs if len(xs) > 1 else xs[0]
    logs = model.fit(x, x, batch_size=len(xs[0]), verbose=0).history
    logged = [logs[key][0] for key in ("layer", "named_penalty") if key in logs]
    expect_close(np.array(logged), np.array(expected[-len(logged) :]), "in the logs, outside of the step")
    expect_close(logs["loss"][0], sum(expected), "the sum of what is added, outside of the step")


class Rule(NamedTuple):
    """A rule, in words; its check; and advice."""

    text: str
    check: Callable[[Subject], None]
    advice: str


WEIGHTED = (
    "Dropped rows are zeros when the formula gets them, but not after you subtract a mean. Multiply by "
    "`weights`, or use `ops.where` with the mask, and take means over what counts, not over all rows."
)
REGISTERED = (
    "Put `@keras.saving.register_keras_serializable(package='my_project')` above the class, and store each "
    "argument of `__init__` unchanged under its own name."
)
RULES = {
    "value": Rule(
        "the value is one finite number, the same each time",
        check_value,
        "Take roots and logarithms of positive numbers only, and draw random numbers from a fixed seed.",
    ),
    "float64": Rule(
        "float64 input gives a float64 value, which agrees with float32",
        check_float64,
        "Give constants the dtype of `x`, and do not cast `x` to another dtype.",
    ),
    "half precision": Rule(
        "float16 and bfloat16 give the value of float64, also for activations of about 300",
        check_half_precision,
        "The formula gets float32: do not cast to another dtype. Prefer functions that do not overflow, such "
        "as `ops.logsumexp`.",
    ),
    "mask": Rule(
        "what a mask drops, even a NaN, counts in neither the value nor the gradient", check_mask, WEIGHTED
    ),
    "padding": Rule("longer padding, which a mask drops, changes nothing", check_padding, WEIGHTED),
    "batch size": Rule(
        "the value does not grow with the batch, as a sum over all rows would",
        check_batch_size,
        "Take the mean over the examples: subclass `PerExamplePenalty`, or divide by the number of rows that "
        "count. If the published formula grows, leave the rule out with `skip=['batch size']`.",
    ),
    "finite": Rule(
        "value and gradient are finite for zeros, constant features, one row and no row",
        check_finite,
        "Use `ops.where` twice around a root, a logarithm or a division, so that it never gets a 0: "
        "`ops.where(v > 0, ops.sqrt(ops.where(v > 0, v, 1.0)), 0.0)`.",
    ),
    "equal rows": Rule(
        "equal rows count as equal, although their mean is rounded",
        check_equal_rows,
        "Use `self.standardized(rows, weights)`, or compare a variance with `1e-12 * size` instead of 0, "
        "where `size` is the mean square of the feature.",
    ),
    "gradient": Rule(
        "there is a gradient; finite differences match it (at a kink, a slope between its sides)",
        check_gradient,
        "Rounded numbers, comparisons and `ops.stop_gradient` pass no gradient on. If this is intended, "
        "leave the rule out with `skip=['gradient']`.",
    ),
    "config": Rule(
        "`from_config(get_config())` makes the same penalty",
        check_config,
        REGISTERED,
    ),
    "strength": Rule(
        "the strength is a factor, which `measure` leaves out",
        check_strength,
        "Do not multiply by `self.strength` in the formula: the value is multiplied later.",
    ),
    "attaching": Rule(
        "each way to attach the penalty adds strength * measure to the loss",
        check_attaching,
        "In a model, sizes may be unknown (None): do not compare or compute with them in `check_shapes`.",
    ),
    "saving": Rule("a saved model adds the same number after it is loaded", check_saving, REGISTERED),
    "compiled": Rule(
        "a compiled training step adds and logs the same number",
        check_compiled,
        "Use `keras.ops` alone: no NumPy, no `float(...)` and no `if` on a tensor. The batch size may be "
        "unknown: `ops.shape(x)[0]` instead of `x.shape[0]`.",
    ),
}
