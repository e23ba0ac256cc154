"""Comparisons of numbers, which say what was expected and what was received."""

import numpy as np

from keras_penalties.testing._subject import Broken


def expect_close(received, expected, source, rtol=1e-4, atol=1e-6):
    """Expect numbers or arrays to be equal, apart from rounding."""
    received, expected = np.broadcast_arrays(received, expected)
    apart = np.abs(received.astype("float64") - expected)
    largest = np.max(np.abs(expected), initial=0.0)
    if not np.all(apart <= rtol * largest + atol):
        worst = np.unravel_index(np.argmax(np.where(np.isnan(apart), np.inf, apart)), apart.shape)
        place = f", at {list(map(int, worst))}" if worst else ""
        raise Broken(f"{expected[worst]:.9g} ({source}{place})", f"{received[worst]:.9g}")


def expect_finite(value, gradients):
    if not np.isfinite(value):
        raise Broken("a finite value", f"{value}")
    for i, gradient in enumerate(gradients):
        if not np.all(np.isfinite(gradient)):
            of = f" of tensor {i}" if len(gradients) > 1 else ""
            count = np.sum(~np.isfinite(gradient))
            raise Broken(f"a finite gradient{of}", f"a gradient with {count} of {gradient.size} not finite")
