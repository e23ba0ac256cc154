"""What is wrong with a penalty that was watched in a training step, and what to do about it."""

import math

import keras
import numpy as np
from keras import ops

from keras_penalties._audit.watch import is_distiller
from keras_penalties._keras import releases, replicas
from keras_penalties._training.terms import value_of_regularizer
from keras_penalties.regularizers import Penalty
from keras_penalties.schedules import Target, _strength

FINE = "reaches the gradient"
DROWNED, DOMINATES = 1e-4, 100.0  # the penalty's gradient at its layer, as a multiple of the main loss's
BEHIND = "Put a `keras_penalties.layers.ActivityPenalty` behind '{}' instead."


def judge(seen, model):
    """The verdict on a penalty, and for each thing that is wrong a sentence."""
    found = [*_never_counted(seen, model), *_counted_again(seen), *_counted_elsewhere(seen)]
    found += _wrong_number(seen, model)
    dropped = not any(seen.counts)
    if not math.isfinite(seen.value):
        found.append(
            (
                "not finite",
                f"It is {seen.value}: look at what '{seen.owner.name}' is given, and in which type.",
            )
        )
    elif seen.value == 0.0 and not dropped:
        text, why = _zero(seen)
        if not why:
            return _joined(found) if found else text, [w for _, w in found]
        found.append((text, why))
    elif not dropped:
        found += _gradient(seen)
    return _joined(found) or FINE, [why for _, why in found]


def _joined(found):
    return ", ".join(dict.fromkeys(verdict for verdict, _ in found))


def _never_counted(seen, model):
    missing, uses = seen.counts.count(0), max(len(seen.counts), 1)
    if seen.counts and not missing:
        return
    name = seen.owner.name
    around = next((a for a in reversed(seen.owner.above) if is_distiller(a)), None)
    wrapper = next((a for a in reversed(seen.owner.above) if isinstance(a, keras.layers.Wrapper)), None)
    if around is not None:
        why = (
            f"{type(around).__name__} '{around.name}' trains on losses of its own, leaves out those of its "
            "student's layers, and runs the student twice a step. Wrap the student in "
            "`keras_penalties.models.HiddenOutputs` and give `kp.regularizers.Hint` as a hidden loss."
        )
    elif seen.counts and missing < uses:
        why = f"Keras keeps {uses - missing} of {uses} uses of '{name}' in a step. {BEHIND.format(name)}"
    elif wrapper is not None and not seen.counts:
        why = (
            f"{type(wrapper).__name__} '{wrapper.name}' does not hand on the losses of what it wraps. "
            f"{BEHIND.format(wrapper.name)}"
        )
    elif not seen.counts:
        why = f"'{name}' was not called in this training step, so that it adds nothing."
    else:
        why = (
            f"The loss that {type(model).__name__} '{model.name}' trains on does not hold it. Add "
            "`sum(self.losses)` in its `compute_loss`."
        )
    yield (f"dropped: {missing} of {uses} uses" if 0 < missing < uses else "dropped"), why


def _counted_again(seen):
    name, mean = seen.owner.name, np.mean([c for c in seen.counts if c] or [1.0])
    if abs(mean - 1.0) > 1e-2:
        yield f"counted {mean:.3g} times", f"The loss holds {mean:.3g} times what '{name}' adds."
    if seen.owner.way != "activity_regularizer":
        return
    if seen.per_call > 1:
        kind = type(seen.owner.layer).__name__
        yield (
            f"counted {seen.per_call} times",
            f"Keras punishes each of the {seen.per_call} tensors that {kind} '{name}' gives, states too. "
            f"{BEHIND.format(name)}",
        )
    by = next((a for a in seen.owner.above if _handed_down(a) is seen.penalty), None)
    if by is not None:
        yield (
            "counted by part",
            f"{type(by).__name__} '{by.name}' hands its `activity_regularizer=` to each of its parts: "
            f"they are punished one by one, and not what '{by.name}' gives. {BEHIND.format(by.name)}",
        )


def _handed_down(layer):
    if isinstance(layer, keras.Model):
        return None
    own = getattr(layer, "_activity_regularizer", None)
    return getattr(layer, "activity_regularizer", None) if own is None else own


def _counted_elsewhere(seen):
    name, uses = seen.owner.name, len(seen.counts)
    lost = seen.on_jax.count(False)
    if all(seen.counts) and lost and uses > 1:
        yield (
            "differs on JAX",
            f"'{name}' is used {uses} times in a step, and on the JAX backend Keras loses {lost} of "
            f"them. {BEHIND.format(name)}",
        )


def _wrong_number(seen, model):
    name, argument = seen.owner.name, seen.owner.way == "activity_regularizer"
    if seen.padding:
        yield (
            "counts padding",
            f"{seen.padding} of {seen.elements} elements are padding: Keras hands no mask to an "
            f"`activity_regularizer=`. {BEHIND.format(name)}",
        )
    penalty = seen.penalty
    foreign = isinstance(penalty, keras.regularizers.Regularizer) and not isinstance(penalty, Penalty)
    if not foreign or not seen.xs:
        return
    kind, named = _kind(penalty, seen.xs[0]), type(penalty).__name__
    divides = releases.KERAS_DIVIDES_BY_BATCH or not argument
    if kind == "sum" and argument:
        yield (
            "depends on the Keras release",
            f"From 3.14 on Keras divides what {named} gives by the batch size, and before it does not. Take "
            f"`keras_penalties.regularizers` for '{name}'.",
        )
    elif kind in ("mean", "statistic") and divides:
        yield (
            "divided twice",
            f"{named} does not grow with the batch, and is divided by the batch size all the same: it "
            "falls as batches grow. Write it as a `keras_penalties.regularizers.BatchStatisticPenalty`.",
        )
    shared = replicas.replicas_of(model)
    if kind == "statistic" and shared > 1:
        yield (
            "per replica",
            f"{named} describes a batch, and each of {replicas} replicas describes its own part. Write it as "
            "a `keras_penalties.regularizers.BatchStatisticPenalty`, which sees all.",
        )


def _kind(regularizer, x):
    """`"sum"` over the examples, their `"mean"`, another `"statistic"` of the batch, or None if unknown."""
    half = len(x) // 2
    if not half:
        return None
    whole, *halves = (
        float(ops.convert_to_numpy(value_of_regularizer(regularizer, ops.convert_to_tensor(part))))
        for part in (x[: 2 * half], x[:half], x[half : 2 * half])
    )
    if not np.isfinite([whole, *halves]).all() or whole == 0.0:
        return None
    if np.isclose(whole, sum(halves), rtol=1e-3):
        return "sum"
    return "mean" if np.isclose(whole, sum(halves) / 2, rtol=1e-3) else "statistic"


def _zero(seen):
    given = getattr(seen.penalty, "strength", None)
    if _strength.is_moving(given) and not seen.strength:
        return "zero for now", ""
    if seen.strength == 0.0:
        return "zero", f"The strength of '{seen.owner.name}' is 0."
    if seen.xs and not any(np.any(x) for x in seen.xs):
        return "zero", f"'{seen.owner.name}' is given nothing but zeros."
    return "zero on this batch", ""


def ratio(seen):
    """The penalty's gradient at its tensors as a multiple of the main loss's; None if one is not known."""
    if seen.gradient is None or not seen.main_gradient:
        return None
    return seen.gradient / seen.main_gradient


def _is_met(seen):
    """Whether a strength has fallen because the penalty measures no more than its target."""
    strength = getattr(seen.penalty, "strength", None)
    return isinstance(strength, Target) and seen.value <= seen.strength * strength.value


def _gradient(seen):
    name, strength, of_main = seen.owner.name, getattr(seen.penalty, "strength", None), ratio(seen)
    if not seen.reaches:
        yield (
            "detached",
            f"'{name}' adds {seen.value:.3g}, and no trainable weight has a gradient from it. Are the layers "
            "before it frozen, or is there a `stop_gradient`?",
        )
    elif of_main is not None and of_main < DROWNED and not _is_met(seen):
        yield (
            "drowned",
            f"Its gradient at '{name}' is {of_main:.1g} of the main loss's: it does next to nothing. Raise "
            "the strength.",
        )
    elif of_main is not None and of_main > DOMINATES:
        yield (
            "dominates",
            f"Its gradient at '{name}' is {of_main:.0f} times the main loss's, which is hardly heard. Lower "
            "the strength.",
        )
    if isinstance(strength, Target) and seen.strength:
        measured = seen.value / seen.strength
        if seen.strength > 0.99 * strength.maximum and measured > 1.05 * strength.value:
            yield (
                "target not met",
                f"The strength is at its maximum of {strength.maximum:g}; '{name}' measures {measured:.3g}, "
                f"not {strength.value:g}. Raise the target, or the maximum.",
            )
