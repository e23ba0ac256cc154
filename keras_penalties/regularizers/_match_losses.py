"""The losses that `Match` accepts, and those that it computes itself."""

from typing import Any

import keras
from keras import ops

from keras_penalties import _logits, _numerics, _serialization
from keras_penalties._keras.losses import keras_function_of
from keras_penalties.losses._pairs import BatchLoss
from keras_penalties.losses._stateful import StatefulLoss

REGISTER = "@keras.saving.register_keras_serializable(package='my_project')"


def _cosine_similarity(target, prediction):
    return -ops.sum(_numerics.unit(target) * _numerics.unit(prediction), axis=-1)


def _absolute_error(target, prediction):
    return ops.mean(_numerics.absolute(target - prediction), axis=-1)


def _cross_entropy(target, prediction):
    p = _logits.softmax(target)
    # The logarithm may be minus infinity where the probability is 0.
    return -ops.sum(p * ops.where(p > 0, _logits.log_softmax(prediction), 0), axis=-1)


def _divergence(target, prediction):
    p = _logits.softmax(target)
    logarithms = _logits.log_softmax(target) - _logits.log_softmax(prediction)
    total = ops.sum(p * ops.where(p > 0, logarithms, 0), axis=-1)
    # For nearly equal rows, rounding may make it negative. The gradient does not change.
    return total + ops.stop_gradient(ops.relu(total) - total)


# Losses of Keras whose gradient breaks the contract: NaN at a row of zeros, not 0 at a kink.
_OF_TENSORS = {"cosine_similarity": _cosine_similarity, "mean_absolute_error": _absolute_error}
# Keras computes these from probabilities that it clips at 1e-7, below which a student gets no gradient.
_OF_LOGITS = {"kl_divergence": _divergence, "categorical_crossentropy": _cross_entropy}
_WITH_LABELS = ("sparse_categorical_crossentropy", "circle", "ctc")
_DEFAULTS = {"axis": -1, "from_logits": False, "label_smoothing": 0.0}


def _plain_name(loss):
    """The name of the Keras function that `loss` is, with its default options; "" for any other loss."""
    name, arguments = keras_function_of(loss)
    return name if all(_DEFAULTS.get(key) == value for key, value in arguments.items()) else ""


def of_tensors(loss) -> Any:
    """`loss` as a function of the target and the prediction that does not reduce its values."""
    found: Any = keras.losses.get(loss) if isinstance(loss, str) else loss
    return _OF_TENSORS.get(_plain_name(loss)) or (
        found.call if isinstance(found, keras.losses.Loss) else found
    )


def of_logits(loss) -> Any:
    """`loss` as a function of the logits of the target and of the prediction."""

    def of_probabilities(target, prediction):
        return of_tensors(loss)(_logits.softmax(target), _logits.softmax(prediction))

    return _OF_LOGITS.get(_plain_name(loss)) or of_probabilities


def name_of(loss):
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)


def check(loss, owner):
    """`loss`, or its name if it is a function of Keras; an error if it cannot compare two tensors."""
    expected = (
        "the name of a Keras loss, a `keras.losses.Loss`, or a registered function of `(y_true, y_pred)`"
    )
    found: Any = loss
    if isinstance(loss, str):
        try:
            found = keras.losses.get(loss)
        except ValueError as error:
            raise ValueError(f"`loss` of {owner} must be {expected}. Received: loss={loss!r}.") from error
    if isinstance(loss, type) or not callable(found):
        raise TypeError(
            f"`loss` of {owner} must be {expected}. Received: {loss!r:.80} (of type {type(loss).__name__})."
        )
    if getattr(found, "__name__", "") == "<lambda>":
        raise ValueError(
            f"`loss` of {owner} is a lambda, which cannot be saved with the model. Define a function, and "
            f"put `{REGISTER}` above it."
        )
    with_labels = any(found is cls.formula for cls in BatchLoss.__subclasses__())
    with_labels = with_labels or keras_function_of(found)[0] in _WITH_LABELS
    if with_labels or isinstance(found, (BatchLoss, StatefulLoss)):
        raise ValueError(
            f"`loss` of {owner} must compare two tensors, and {name_of(found)} needs labels. Pass it in "
            "`hidden_losses` of `keras_penalties.models.HiddenOutputs` instead."
        )
    reduction = getattr(found, "reduction", "mean")
    if reduction not in ("sum_over_batch_size", "mean", "mean_with_sample_weight"):
        raise ValueError(
            f"`loss` of {owner} must have reduction='sum_over_batch_size', a mean over the batch. Received: "
            f"{name_of(found)} with reduction={reduction!r}. Scale a mean with `strength`."
        )
    return loss if keras_function_of(loss) != (name_of(loss), {}) else name_of(loss)


def refuse_logits(loss, owner):
    if getattr(loss, "from_logits", False):
        raise ValueError(
            f"`loss` of {owner} gets probabilities, the softmax of both tensors, if a temperature is given. "
            f"Received: {name_of(loss)} with from_logits=True. Omit `from_logits`, or `temperature`."
        )


def can_be_saved(loss):
    """Whether a file that names `loss` could be loaded."""
    registered = _serialization.is_registered(loss if hasattr(loss, "__name__") else type(loss))
    return isinstance(loss, str) or registered or type(loss).__module__.startswith("keras.")


def not_saved(loss, owner):
    kind = "function" if hasattr(loss, "__name__") else "class"
    return (
        f"`loss` of {owner} is the {kind} `{name_of(loss)}`, which is not registered, so a file with its "
        f"name could not be loaded. Put `{REGISTER}` above it."
    )
