"""A layer that punishes the tensor passing through it."""

import keras
from keras import ops, tree

from keras_penalties import _checks
from keras_penalties._keras import layers as keras_layers
from keras_penalties._keras import scopes
from keras_penalties._serialization import made, register
from keras_penalties._training.logged_mean import AddedMean
from keras_penalties._training.terms import Term, as_penalties
from keras_penalties._training.terms import check as check_penalties


@register
class ActivityPenalty(keras.layers.Layer):
    """Passes its input on untouched, and adds what a penalty says of it to the loss.

    The value is shown under the layer's name in the progress bar and the history, `val_` included.
    A mask that reaches the layer is used and passed on. What a penalty keeps while it trains, a strength
    that moves or a projection that it learns, are weights of the layer; there are no others. Checkpoints of
    the model without it load into the model with it, and back, as long as Keras lists the other layers in
    the same order: on one of several branches a penalty can change that. Nothing of it is left in what an
    exported model computes.

    Args:
        penalty: a penalty, a `keras.regularizers` object, or a list of these, which are summed. A
            Keras regularizer counts as in Keras 3.15: the sum of what it returns, divided by the batch size,
            with zeros for what the mask drops.
        training_only: whether `evaluate` leaves the penalty out. Defaults to False.
        **kwargs: `name=` and the other arguments of a Keras layer.

    Call arguments:
        inputs: a float tensor of any rank, or a list of them for a penalty that compares several.
        mask: what to count; Keras fills it in from the layers before.
        training: whether this is a training step; Keras fills it in.

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
        TypeError: if `penalty` is not a penalty (a lambda cannot be saved); if the input is not of
            floats.
        ValueError: if the penalty compares more, or fewer, tensors than it is called on.
    """

    def __init__(self, penalty, training_only=False, **kwargs):
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        keras_layers.never_recomputed(self)  # it computes nothing that would have to be kept
        self.penalty = penalty
        self.training_only = _checks.flag(training_only, "training_only", "ActivityPenalty")
        self.supports_masking = True
        self._term = Term(as_penalties(penalty, "penalty", "ActivityPenalty"), self.name)
        self._added = AddedMean(name=self.name)
        self._beside = [AddedMean(name=f"{self.name}{key}") for key in self._term.keys]
        self.built = not self._term.waits_for_shapes

    def build(self, input_shape):
        several = any(isinstance(size, (list, tuple)) for size in input_shape)
        shapes = [tuple(shape) for shape in (input_shape if several else [input_shape])]
        tensors = [keras.KerasTensor(shape) for shape in shapes]
        check_penalties(self._term.penalties, tensors if several else tensors[0], f"the layer '{self.name}'")
        self._term.learn(shapes)

    def call(self, inputs, mask=None, training=None):
        if training or not self.training_only:
            if any([mean.enter(scopes.stateless_scope()) for mean in (self._added, *self._beside)]):
                self._loss_ids.clear()
            first = not self._added.losses
            values = self._term.added(inputs, mask, bool(training), first)
            batch = ops.shape(tree.flatten(inputs)[0])[0]
            self.add_loss(values[""])
            self._added.offer(values[""], batch)
            for mean, key in zip(self._beside, self._term.keys, strict=True):
                if key in values:
                    mean.offer(values[""], batch, values[key])
        return inputs

    def _get_own_losses(self):
        # Outside of JAX's scope, TensorFlow's replicas would read each other's losses in Keras' list.
        scoped = scopes.stateless_scope() is not None
        losses = super()._get_own_losses() if scoped else self._added.losses
        # A loss reads what was added: only then is it shown. A plain `model(x)` shows nothing.
        for mean in (self._added, *self._beside):
            mean.take(losses)
        return losses

    def _clear_losses(self):
        # Keras clears at the start of each outermost call. In JAX's training step the outermost call
        # is not a `__call__`, so every layer seems outermost, and its second use would erase the loss
        # of its first. There the scope is new with every step and nothing has to be cleared.
        if scopes.stateless_scope() is None:
            super()._clear_losses()
            for mean in (self._added, *self._beside):
                mean.withdraw()

    def compute_output_spec(self, inputs, mask=None, training=None):
        check_penalties(self._term.penalties, inputs, f"the layer '{self.name}'", mask)
        return tree.map_structure(lambda x: keras.KerasTensor(x.shape, dtype=x.dtype), inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def compute_mask(self, inputs, previous_mask):
        return previous_mask

    def get_config(self):
        penalty = keras.saving.serialize_keras_object(self.penalty)
        config = {**super().get_config(), "penalty": penalty, "training_only": self.training_only}
        return config

    @classmethod
    def from_config(cls, config):
        return made(cls, config, "penalty")
