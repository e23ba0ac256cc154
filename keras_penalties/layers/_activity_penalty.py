"""A layer that penalizes the tensor passing through it."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Self

import keras
from keras import ops, tree

from keras_penalties import _checks, _numerics
from keras_penalties._keras import layers as keras_layers
from keras_penalties._keras import places, scopes
from keras_penalties._keras.hooks import LayerWithLosses
from keras_penalties._keras.masks import get_keras_mask
from keras_penalties._serialization import made, register
from keras_penalties._training import log_names, masks
from keras_penalties._training.additions import Additions
from keras_penalties._training.logged_mean import LoggedMean
from keras_penalties._training.terms import Term, as_penalties
from keras_penalties._training.terms import check as check_penalties
from keras_penalties._types import Config, Tensors


@register
class ActivityPenalty(LayerWithLosses):
    """Returns its input unchanged, and adds a penalty of it to the loss.

    Use what the layer returns: Keras removes from a functional model everything that no output depends on, so
    a penalty whose result is unused is silently dropped.

    The progress bar and the history show the value under the layer's name, also as `val_<name>`. If another
    metric of the model has that name, a number is appended: `quiet_1`. The mask that Keras keeps with the
    tensor is used and passed on. If the padding mask is an input of the model, Keras does not know it: pass
    it as `mask=`.

    The state of a penalty, such as a strength that changes or a learned projection, is kept as weights of the
    layer; it has no others. Checkpoints of the unpenalized model load into the penalized one, and the
    reverse, if Keras lists the other layers in the same order. A penalty on one of several branches can
    change that order. An exported model contains no part of this layer.

    Args:
        penalty: a penalty, a `keras.regularizers` object, or a list of these, which are summed. A
            Keras regularizer counts as in Keras 3.15: the sum of what it returns, divided by the batch size,
            with zeros for what the mask drops.
        training_only: whether to leave the penalty out in `evaluate`. Defaults to False.
        **kwargs: `name=` and the other arguments of a Keras layer.

    Call arguments:
        inputs: a float tensor of any rank, or a list of them for a penalty that compares several.
        mask: what to count, where it is not zero; by default, the mask that Keras keeps with the tensor. A
            mask that you pass is combined with it (an element counts if both keep it), and is for this
            penalty only: later layers and the main loss see the mask that came with the tensor.
        training: whether this is a training step; by default, Keras' own value. In a subclassed model, pass
            it on: `self.penalty(x, training=training)`.

    Example:

    >>> import keras, numpy as np, keras_penalties as kp
    >>> x = keras.Input((2,))
    >>> h = kp.layers.ActivityPenalty(kp.regularizers.L2(0.1), name="small")(x)
    >>> model = keras.Model(x, h)
    >>> model.compile(loss="mse")
    >>> batch = np.array([[1.0, -2.0], [0.0, 3.0]], "float32")
    >>> logs = model.evaluate(batch, batch, verbose=0, return_dict=True)
    >>> round(float(logs["small"]), 6)  # 0.1 * (5 + 9) / 2
    0.7

    Raises:
        TypeError: if `penalty` is not a penalty (a lambda cannot be saved); if the input does not have a
            float dtype.
        ValueError: if the penalty compares more, or fewer, tensors than it is called on; if `name` is a key
            that Keras uses in the logs (`"loss"`, `"val_..."`); in a training step, if the layer is called
            inside a part that is rematerialized, or in a loop or branch that the backend compiles.
    """

    def __init__(
        self,
        penalty: keras.regularizers.Regularizer | Sequence | str,
        training_only: bool = False,
        **kwargs: Any,
    ):
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        _checks.log_name(self.name, "name", "ActivityPenalty")
        keras_layers.never_recomputed(self)  # it computes nothing that needs memory
        self.training_only = _checks.flag(training_only, "training_only", "ActivityPenalty")
        self.supports_masking = True
        self._several = isinstance(penalty, (list, tuple))
        self._term = Term(as_penalties(penalty, "penalty", "ActivityPenalty"), self.name)
        self._additions = Additions(f"The ActivityPenalty '{self.name}'", self._term.averaged)
        self._logged = [
            LoggedMean(f"{self.name}{key}", additions=self._additions, key=key, direction=direction)
            for key, direction in (("", "down"), *((key, None) for key in self._term.keys))
        ]
        self.built = not self._term.waits_for_shapes

    @property
    def penalty(self) -> Any:
        """The argument `penalty`: a penalty, or a list of them. Its strength can be assigned; it cannot be
        replaced."""
        penalties = list(self._term.penalties)
        return penalties if self._several else penalties[0]

    @penalty.setter
    def penalty(self, value):
        raise AttributeError(
            f"`penalty` of the ActivityPenalty '{self.name}' cannot be replaced: the layer keeps "
            "its state. Assign its strength, `layer.penalty.strength = 0.1`, or create another layer."
        )

    def get_term(self) -> Term:
        """The penalties, with their state. Not a property, which would change its name in Keras' files, since
        these name parts of a layer by its attributes."""
        return self._term

    @property
    def added_losses(self) -> list:
        """What the layer added in this pass, as in `losses`."""
        return self._additions.losses

    @property
    def logged(self) -> list:
        """The means that the logs show. The first is what is added, under the layer's name."""
        return list(self._logged)

    @property
    def metrics(self) -> list:
        return log_names.gathered(self)

    def build(self, input_shape: Any) -> None:
        several = any(isinstance(size, (list, tuple)) for size in input_shape)
        shapes = [tuple(shape) for shape in (input_shape if several else [input_shape])]
        tensors = [keras.KerasTensor(shape) for shape in shapes]
        check_penalties(self._term.penalties, tensors if several else tensors[0], f"the layer '{self.name}'")
        self._term.learn(shapes)

    def call(self, inputs: Tensors, mask: Tensors = None, training: bool | None = None) -> Tensors:
        if places.in_backward_pass() or places.is_traced_apart():
            raise ValueError(places.lost(f"The ActivityPenalty '{self.name}'"))
        if scopes.is_symbolic():  # Keras only infers shapes, in which the batch has no size yet
            check_penalties(self._term.penalties, inputs, f"the layer '{self.name}'", mask)
            return inputs
        if scopes.is_repeated():  # for a gradient on JAX: the penalty was added before
            return inputs
        if self._additions.enter(scopes.stateless_scope()):
            self.allow_same_losses()
        first = tree.flatten(inputs)[0]
        if training or not self.training_only:
            mask = masks.combined(mask, inputs)
            values = self._term.added(inputs, mask, bool(training), self._additions.is_first)
        else:  # a loss of zero, by which a training step notices that `training` is missing
            values = {"": _numerics.as_loss(ops.sum(_numerics.accumulate(first[:0])))}
        self.add_loss(values[""])
        needs_training = self.training_only or self._term.moves
        self._additions.add(
            values[""],
            values if training or not self.training_only else {},
            ops.shape(first)[0],
            self._warn_of_missing_training if needs_training and not training else None,
        )
        return inputs

    def miss(self, why: str) -> None:
        """Raise the error `why` when the losses of this pass are read: what this layer adds is unknown."""
        self._additions.miss(why)

    def _warn_of_missing_training(self):
        effect = "its strength does not move" if self._term.strengths.keys else "it counts no step"
        effect = "it adds nothing" if self.training_only else effect
        warnings.warn(
            f"`training` does not reach the ActivityPenalty '{self.name}' in a training step, so {effect}. "
            "Pass it on in each layer and model around it: `def call(self, x, training=None)`, and in it "
            "`self.penalty(x, training=training)`. In a step of your own, write `model(x, training=True)`.",
            stacklevel=2,
        )

    def own_losses(self, of_keras: Callable) -> list:
        # Outside of JAX's scope, TensorFlow's replicas would read each other's losses in Keras' list.
        scoped = scopes.stateless_scope() is not None
        return self._additions.read(of_keras() if scoped else self._additions.unscoped())

    def end_pass(self, of_keras: Callable) -> None:
        # Keras clears at the start of each outermost call. In JAX's training step the outermost call
        # is not a `__call__`, so every layer seems outermost, and its second use would erase the loss
        # of its first. There each step has a new scope, and nothing has to be cleared.
        if scopes.stateless_scope() is None:
            of_keras()
            self._additions.end_pass()

    def compute_output_spec(self, inputs: Tensors, mask: Tensors = None, training: bool | None = None) -> Any:
        check_penalties(self._term.penalties, inputs, f"the layer '{self.name}'", mask)
        return tree.map_structure(lambda x: keras.KerasTensor(x.shape, dtype=x.dtype), inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def compute_mask(self, inputs: Tensors, previous_mask: Tensors = None) -> Tensors:
        # A mask passed to this layer is only for it; later layers get the mask of the tensor.
        return tree.map_structure(get_keras_mask, inputs)

    def get_config(self) -> Config:
        penalty = keras.saving.serialize_keras_object(self.penalty)
        config = {**super().get_config(), "penalty": penalty, "training_only": self.training_only}
        return config

    @classmethod
    def from_config(cls, config: Config) -> Self:
        return made(cls, config, "penalty")
