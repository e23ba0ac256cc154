"""Functions of rows of logits: softmax, its logarithm and entropy, and log-sum-exp.

A logit of -inf is a probability of 0, with gradient 0. A row of only these has the softmax of equal logits.
"""

from keras import ops

from keras_penalties import _numerics

# The lowest finite float32, in place of -inf.
LOWEST = -3.4028234e38
# Entries this far below the largest change no entropy. Its exponential is not 0, so that a row of -inf alone
# can be divided by the sum of its exponentials.
SMALLEST = -80.0


def below_largest(x):
    """Each row less its largest entry, so that a constant added to a row costs no digits."""
    x = ops.where(x < LOWEST, _numerics.constant(LOWEST, x), x)
    largest = _largest(x)
    return x - largest, largest


def _largest(x):
    least = {} if all(x.shape) else {"initial": LOWEST}  # without rows there is no largest entry
    return ops.stop_gradient(ops.max(x, axis=-1, keepdims=True, **least))


def logsumexp(x):
    """The logarithm of the sum of the exponentials along the last axis."""
    # `ops.logsumexp` loses the digits of its gradient on torch where all entries are large.
    x, largest = below_largest(x)
    return largest[..., 0] + ops.log(ops.sum(ops.exp(x), axis=-1))


def log_total(x, chosen):
    """`logsumexp` of the chosen entries of each row: about `LOWEST` where none is."""
    return logsumexp(ops.where(chosen, x, _numerics.constant(LOWEST, x)))


def log_softmax(x):
    x, _ = below_largest(x)
    return x - ops.log(ops.sum(ops.exp(x), axis=-1, keepdims=True))


def softmax(x):
    x, _ = below_largest(x)
    exponentials = ops.exp(x)
    return exponentials / ops.sum(exponentials, axis=-1, keepdims=True)


def entropy(x):
    """The entropy of the softmax along the last axis, in nats."""
    x = x - ops.maximum(_largest(x), LOWEST)
    x = ops.where(x < SMALLEST, SMALLEST, x)  # finite, so that no product is NaN
    exponentials = ops.exp(x)
    total = ops.sum(exponentials, axis=-1)
    return ops.log(total) - ops.sum(exponentials * x, axis=-1) / total
