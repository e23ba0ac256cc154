"""One attached penalty, or a list of them, as a number that is added to a loss and shown by name."""

import keras
from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties.regularizers import Penalty


def as_penalties(value, argument, owner) -> list:
    """A penalty, a Keras regularizer (or its name or config), or a list of these, as a list."""
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    penalties = [_by_name(item) for item in items]
    for item, penalty in zip(items, penalties, strict=True):
        if isinstance(penalty, type) and issubclass(penalty, keras.regularizers.Regularizer):
            raise TypeError(
                f"`{argument}` of {owner} must be a penalty, not its class. "
                f"Received: {penalty.__name__}. Call it with a strength: {penalty.__name__}(0.01)."
            )
        if not isinstance(penalty, keras.regularizers.Regularizer):
            raise TypeError(
                f"`{argument}` of {owner} must be a penalty of `keras_penalties.regularizers`, a "
                f"`keras.regularizers` object, or a list of these. Received: {item!r} (of type "
                f"{type(item).__name__}). A function or lambda cannot be saved with the model: write "
                "a subclass of `keras_penalties.regularizers.PerExamplePenalty` with one method."
            )
    if not penalties:
        raise ValueError(f"`{argument}` of {owner} must hold one penalty at least. Received: [].")
    return penalties


def _by_name(item):
    if not isinstance(item, (str, dict)):
        return item
    try:
        return keras.regularizers.get(item)
    except ValueError:
        return item


def check(penalties, x, owner, mask=None):
    """Refuse at building time what `penalties` cannot measure; `x` and `mask` may be symbolic."""
    for penalty in penalties:
        if isinstance(penalty, Penalty):
            penalty.validate(x, mask)
        elif isinstance(x, (list, tuple)):
            raise ValueError(
                f"{type(penalty).__name__}, given to {owner}, measures one tensor. "
                f"Received a list of {len(x)}."
            )
        else:
            _checks.tensor(x, type(penalty).__name__)


def added_to_loss(penalties, x, mask=None):
    """The sum of what `penalties` add to the loss for `x`."""
    return sum(_numerics.as_loss(_one(penalty, x, mask)) for penalty in penalties)


def _one(penalty, x, mask):
    if isinstance(penalty, Penalty):
        return penalty.strength * penalty.measure(x, mask)
    # Keras 3.15's rule: what a regularizer returns, divided by the batch size. What the mask drops
    # is shown to it as zeros.
    _checks.tensor(x, type(penalty).__name__)
    mask = None if mask is None else ops.cast(mask, "bool")
    value = penalty(_numerics.keep(_numerics.accumulate(x), mask))
    return value / _numerics.at_least_one(ops.cast(ops.shape(x)[0], value.dtype))
