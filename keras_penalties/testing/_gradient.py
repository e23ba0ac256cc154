"""The rule that a penalty has a gradient, and that it is the right one."""

import numpy as np

from keras_penalties._keras.precision import float64, rounds_float64
from keras_penalties.testing._subject import Broken, Case, Subject

DIRECTIONS = 3  # in which the value is compared with its gradient


def check_gradient(subject: Subject):
    xs = subject.xs
    size, slack, noise = (1e-3, 1e-2, 1e-3) if rounds_float64() else (1e-7, 1e-3, 1e-7)
    with float64():
        case = Case(subject.about, xs, dtype="float64")
        here, slopes = float(subject.measure(case)), subject.gradients(case)
        # A tensor without any gradient is detached, as a teacher is, unless no other has one.
        reached = [i for i, slope in enumerate(slopes) if np.any(slope)]
        if not reached and not _has_gradient_elsewhere(subject):
            raise Broken(
                "a gradient that is not zero everywhere", "zeros, also for 0.1, 10 and 1000 times these"
            )
        for i in reached or range(len(xs)):
            step = size * (np.max(np.abs(xs[i])) or 1.0)
            room = slack * np.linalg.norm(slopes[i]) + noise * abs(here) + 1e-8
            for _ in range(DIRECTIONS):
                direction = subject.random.normal(size=xs[i].shape)
                direction /= np.linalg.norm(direction)
                ahead, back = (
                    float(subject.measure(Case(subject.about, [*xs[:i], x, *xs[i + 1 :]], dtype="float64")))
                    for x in (xs[i] + step * direction, xs[i] - step * direction)
                )
                # At a kink the two differ, and the gradient may be anything between them.
                low, high = sorted([(ahead - here) / step, (here - back) / step])
                along = np.sum(slopes[i] * direction)
                if not low - room <= along <= high + room:
                    raise Broken(
                        f"{(low + high) / 2:.6g} (the change of the value in a random direction)",
                        f"{along:.6g} (by the gradient)",
                    )


def _has_gradient_elsewhere(subject):
    """Whether there is a gradient for smaller or larger activations, as for a penalty of large ones only."""
    for size in (0.1, 10.0, 1e3):
        xs = [size * x for x in subject.xs]
        if subject.accepts(xs) and any(
            map(np.any, subject.gradients(Case(subject.about, xs, dtype="float64")))
        ):
            return True
    return False
