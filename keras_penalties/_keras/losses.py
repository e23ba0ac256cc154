"""How Keras reduces the result of a loss function with masks and weights, and changes the weights."""

import inspect

import keras
from keras import ops, tree

from keras_penalties._keras import private
from keras_penalties._keras.masks import get_keras_mask


def weights_for(sample_weight, y_pred):
    """`sample_weight` for a loss or metrics of `y_pred` to write into.

    On torch `apply_mask` (keras/src/losses/loss.py) multiplies the mask into the weights in place. A second
    loss that gets the same tensor would apply the mask twice, and the user's own array could change. So
    each loss gets its own weights there, one tensor per output, with the mask's shape.
    """
    if sample_weight is None or tree.is_nested(sample_weight):
        return tree.map_structure(_own, sample_weight)
    if keras.backend.backend() != "torch":
        return sample_weight
    return tree.map_structure(lambda prediction: _own(sample_weight, get_keras_mask(prediction)), y_pred)


def mean_of_values(values, sample_weight=None, mask=None):
    """The mean of the result of a loss function, as Keras computes it.

    Args:
        values: a float scalar, or one value per example or per step.
        sample_weight: weights with no more axes than `values`, or None.
        mask: the mask of the predictions, with no more axes than `values`, or None.
    """
    others = [ops.convert_to_tensor(x) for x in (sample_weight, mask) if x is not None]
    if not len(values.shape):  # a scalar counts for each weight and step, and for each replica
        values = ops.reshape(values, (1,) * max([1, *(len(x.shape) for x in others)]))
    sample_weight = _fitted(sample_weight, values, "`sample_weight`")
    mask = _fitted(mask, values, "the mask of the predictions")
    reduce = private.find("keras.src.losses.loss.reduce_weighted_values")
    return reduce(values, _own(sample_weight, mask), mask)


def with_same_rank(y_true, y_pred):
    """Both with as many axes, if the last axis of one has the size 1, as Keras passes them to a function."""
    return private.find("keras.src.losses.loss.squeeze_or_expand_to_same_rank")(y_true, y_pred)


def keras_function_of(loss):
    """The name and the arguments of the function of `keras.losses` that `loss` stands for: `loss` may be a
    name, the function itself, or an object that wraps it. `("", {})` for any other loss."""
    wrapper, arguments = private.find("keras.src.losses.losses.LossFunctionWrapper"), {}
    if isinstance(loss, wrapper) and type(loss).call is wrapper.call:
        loss, arguments = loss.fn, private.of(loss, "_fn_kwargs")
    elif isinstance(loss, str):
        return keras_function_of(keras.losses.get(loss))
    name = getattr(loss, "__name__", "")
    return (name, arguments) if getattr(keras.losses, name or " ", None) is loss else ("", {})


def serialize_loss(loss):
    """`loss`, or a dict or list of them, as JSON with all of their arguments.

    `keras.losses.Huber`, `CosineSimilarity` and others leave their own arguments, `delta` and `axis`, out of
    their config (keras/src/losses/losses.py), so that a loaded loss has the defaults.
    """
    if isinstance(loss, dict):
        return {name: serialize_loss(one) for name, one in loss.items()}
    if isinstance(loss, list):
        return [serialize_loss(one) for one in loss]
    saved = keras.saving.serialize_keras_object(loss)
    _, arguments = keras_function_of(loss) if isinstance(loss, keras.losses.Loss) else ("", {})
    if arguments and isinstance(saved, dict):
        accepted = inspect.signature(type(loss).__init__).parameters
        left_out = {key: value for key, value in arguments.items() if key in accepted}
        saved = {**saved, "config": {**left_out, **saved["config"]}}
    return saved


def dtype_policy_of(loss):
    """The precision of a loss, which `keras.losses.Loss` does not save."""
    return private.of(loss, "_dtype_policy")


def _fitted(x, values, what):
    """`x` with as many axes as `values`."""
    if x is None:
        return None
    x, rank = ops.convert_to_tensor(x), len(values.shape)
    while len(x.shape) > rank and x.shape[-1] == 1:
        x = ops.squeeze(x, axis=-1)
    if len(x.shape) > rank:
        raise ValueError(
            f"It returns values of shape {tuple(values.shape)}, but {what} has the shape {tuple(x.shape)}. "
            "Return a scalar, or one value per example and step."
        )
    return ops.reshape(x, tuple(ops.shape(x)) + (1,) * (rank - len(x.shape)))


def _own(weights, mask=None):
    if weights is None or keras.backend.backend() != "torch":
        return weights
    if mask is not None and len(mask.shape) == len(weights.shape):
        weights = ops.broadcast_to(weights, mask.shape)  # since an in-place operation does not broadcast
    return ops.copy(weights)
