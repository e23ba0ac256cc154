"""Whether a penalty's strength is too small or too large, and how far it is from its target."""

from typing import Any

import numpy as np

from keras_penalties.schedules import Target, _strength

DROWNED, DOMINATES = 1e-4, 100.0  # the penalty's gradient at its layer, as a multiple of the main loss's
NEAR = 0.1  # how far a measure may be from its target, as a share of the target: batches differ by this much


def measured(evidence) -> Any:
    """What the penalty measures in a use, without its strength; None if unknown."""
    if not evidence.strength or not evidence.counts:
        return None
    return evidence.value / evidence.strength / len(evidence.counts)


def zero(evidence):
    """Why a penalty adds nothing: a verdict, and a sentence if it is a problem."""
    given = getattr(evidence.penalty, "strength", None)
    if _strength.is_moving(given) and not evidence.strength:
        return "zero for now", ""
    if evidence.strength == 0.0:
        return "zero", f"The strength of '{evidence.source.name}' is 0."
    if evidence.xs and not any(np.any(x) for x in evidence.xs):
        return "zero", f"The input of '{evidence.source.name}' is all zeros."
    return "zero on this batch", ""


def problems(evidence):
    """What is wrong with the size of a penalty's gradient: verdicts and sentences."""
    name, ratio, target = evidence.source.name, evidence.ratio, _target(evidence)
    if evidence.reaches == 0.0:
        yield (
            "detached",
            f"'{name}' adds {evidence.value:.3g}, but no trainable weight gets a gradient from it. Are the "
            "layers before it frozen, or is there a `stop_gradient`?",
        )
    elif ratio is not None and ratio < DROWNED and target is None:
        yield (
            "drowned",
            f"Its gradient at '{name}' is {ratio:.1g} of the main loss's: it does next to nothing. Raise "
            "the strength.",
        )
    elif ratio is not None and ratio > DOMINATES and not evidence.bypassed and not _falls(evidence):
        lower = "Lower the strength." if target is None else "Raise the target."
        yield (
            "dominates",
            f"Its gradient at '{name}' is {ratio:.0f} times the main loss's, which hardly matters. {lower}",
        )
    if target is not None and _is_at_maximum(evidence) and measured(evidence) > 1.05 * target.value:
        yield (
            "target not met",
            f"The strength is at its maximum of {target.maximum:g}; '{name}' measures "
            f"{measured(evidence):.3g}, not {target.value:g}. Raise the target, or the maximum.",
        )


def progress(evidence) -> str:
    """`"not there yet"` if the strength still moves towards its target, otherwise an empty string."""
    target = _target(evidence)
    if target is None or not evidence.strength:
        return ""
    error = measured(evidence) / target.value - 1.0
    moves = not _is_at_maximum(evidence) if error > 0 else evidence.strength > 1.01 * target.minimum
    return "not there yet" if moves and abs(error) > NEAR else ""


def _target(evidence) -> Any:
    """The target of the strength, or None."""
    strength = getattr(evidence.penalty, "strength", None)
    return strength if isinstance(strength, Target) else None


def _falls(evidence) -> bool:
    """Whether the strength falls by itself, because the penalty measures no more than its target."""
    target, measure = _target(evidence), measured(evidence)
    return target is not None and measure is not None and measure <= target.value


def _is_at_maximum(evidence) -> bool:
    return (evidence.strength or 0.0) > 0.99 * _target(evidence).maximum
