"""The base class of losses that keep a state from one training batch to the next."""

from keras import ops, tree

from keras_penalties import _serialization
from keras_penalties._types import Config, Shapes, Tensor, Tensors
from keras_penalties.losses._loss import OwnLoss, WithLabels, without_masked


class StatefulLoss(_serialization.Keywords, OwnLoss):
    """A loss with a state, which is kept from one training batch to the next.

    The state needs an owner: pass the loss in `hidden_losses` to `keras_penalties.models.HiddenOutputs`,
    which keeps the state as weights, saves it with the model, and passes it to `call` by name. A variable of
    the loss itself would belong to no model: it would not be saved, and on JAX it would never change.

    Subclass it to write your own loss: define `state`, `call` and `next_state`, and register the class
    with `keras.saving.register_keras_serializable`. Arguments of `__init__` that are stored as attributes
    under their own names are saved without further code.

    It takes the arguments `name`, `reduction` and `dtype` of a Keras loss; the default reduction is the mean
    over the batch.

    Example:

    >>> import keras, keras_penalties as kp
    >>> from keras import ops
    >>> @keras.saving.register_keras_serializable("my_project")
    ... class Drift(kp.losses.StatefulLoss):
    ...     def state(self, shapes):
    ...         return {"mean": {"shape": (shapes[0][-1],), "initializer": "zeros"}}
    ...     def call(self, y_true, y_pred, mean):
    ...         return ops.sum(ops.square(y_pred - mean), axis=-1)
    ...     def next_state(self, y_true, y_pred, sample_weight=None, *, mean):
    ...         return {"mean": 0.5 * mean + 0.5 * ops.mean(y_pred, axis=0)}
    >>> loss, x, y = Drift(), ops.array([[1.0], [3.0]]), ops.array([0, 1])
    >>> float(loss(y, x, mean=ops.array([0.0])))  # (1**2 + 3**2) / 2
    5.0
    >>> # 0.5 * 0 + 0.5 * 2
    >>> float(loss.next_state(y, x, mean=ops.array([0.0]))["mean"][0])
    1.0

    Raises:
        TypeError: if the loss is called without its state, for example as `loss=` of `compile`.
        ValueError: if it is saved, and an argument is not stored as an attribute.
    """

    def state(self, shapes: Shapes) -> dict:
        """The state that the owner keeps.

        Args:
            shapes: the shapes of the hidden tensors, with None for unknown sizes.

        Returns:
            A dict of the arguments of `add_weight`, by name, such as
            `{"mean": {"shape": (8,), "initializer": "zeros"}}`. With `"trainable": True` the optimizer
            updates the weight, and `next_state` is not needed.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `state(shapes)`.")

    def call(self, y_true: Tensors, y_pred: Tensors, **state: Tensor) -> Tensor:
        """One value for each example, which Keras weights and reduces.

        Args:
            y_true: the labels, in their own dtype.
            y_pred: the hidden tensor in the loss's dtype, or a list of them.
            **state: the state, by the names that `state` returns.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement `call(y_true, y_pred, **state)`.")

    def next_state(
        self, y_true: Tensors, y_pred: Tensors, sample_weight: Tensors = None, **state: Tensor
    ) -> dict:
        """The state after a training step, by name; what is left out stays the same. It gets no gradient."""
        return {}

    def __call__(
        self, y_true: Tensors, y_pred: Tensors, sample_weight: Tensors = None, **state: Tensor
    ) -> Tensor:
        if not state:
            raise TypeError(
                f"{type(self).__name__} has a state, which needs an owner that keeps it. Give the loss to "
                "`hidden_losses` of `keras_penalties.models.HiddenOutputs.compile`, not to `loss=`."
            )
        y_true, y_pred = without_masked(y_true, y_pred, self.dtype)
        y_true = tree.map_structure(ops.convert_to_tensor, y_true)
        self.check_first_batch((y_true, y_pred))
        return WithLabels(self, y_true, **state)(y_true, y_pred, sample_weight)

    def get_config(self) -> Config:
        config = super().get_config()
        kept = _serialization.kept_arguments(self)  # `__init__` may not take Keras' own arguments
        return {name: config.get(name, value) for name, value in kept.items()}
