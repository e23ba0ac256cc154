"""Which labels and weights a loss of hidden tensors gets."""

import contextlib

from keras import tree

from keras_penalties.losses import StatefulLoss
from keras_penalties.models._loss_arguments import REGISTER, FunctionLoss, compares_with_labels


def one_label(y):
    """The labels of a model with one output as one tensor; others unchanged."""
    flat = tree.flatten(y)
    return flat[0] if len(flat) == 1 else y


def labels_for(loss, y, argument):
    """The part of `y` that `loss` gets: a loss of Keras or this package the only array, another all of it."""
    y = one_label(y)
    if not compares_with_labels(loss):
        return y
    if y is None:
        raise ValueError(f"`{argument}` is a loss between labels and a hidden tensor, and there is no `y`.")
    if tree.is_nested(y):
        keys = list(y) if isinstance(y, dict) else list(range(len(y)))
        raise ValueError(
            f"`{argument}` takes one array of labels, and `y` holds {len(keys)}: "
            f"{', '.join(map(repr, keys))}. {_how_to_pick(loss, keys[0])}"
        )
    return y


def _how_to_pick(loss, key):
    kind = type(loss).__name__
    if isinstance(loss, StatefulLoss):
        return f"{kind} has state of its own: wrap a model with one output, the one that its labels are for."
    if isinstance(loss, FunctionLoss):
        call = f"keras.losses.{loss.name}(y_true[{key!r}], hidden)"
    else:
        package = type(loss).__module__.partition(".")[0]
        call = f"{package}.losses.{kind}(..., reduction=None)(y_true[{key!r}], hidden)"
    return (
        f"Give a function that picks one of them:\n\n    {REGISTER}\n    def loss_of_one(y_true, hidden):\n"
        f"        return {call}\n"
    )


def one_weight(sample_weight, argument):
    """The weights as one array, or None."""
    flat = [w for w in tree.flatten(sample_weight) if w is not None]
    if len(flat) > 1:
        raise ValueError(
            f"`sample_weight` must be one array for `{argument}`. Received: {len(flat)} arrays, one per "
            "output (Keras repeats a single array if `y` has several), and it is unknown which one is for "
            "the hidden tensor. Give batches with one array of weights, which stays one: a generator or "
            "`keras.utils.PyDataset` of `(x, y, sample_weight)`."
        )
    return flat[0] if flat else None


@contextlib.contextmanager
def naming(argument, **tensors):
    """Name `argument`, and the shapes that it got, in an error; each backend raises its own kind."""
    try:
        yield
    except Exception as error:
        shapes = [f"{name} of shape {_shapes(x)}" for name, x in tensors.items() if x is not None]
        raise ValueError(f"`{argument}` cannot be computed from {', '.join(shapes)}. {error}") from error


def _shapes(tensors):
    return ", ".join(str(tuple(x.shape)) for x in tree.flatten(tensors) if x is not None)
