"""A wrapper that hands hidden layers to compiled losses."""

from typing import Any

import keras

from keras_penalties._keras import replicas
from keras_penalties._keras.masks import get_keras_mask
from keras_penalties._serialization import made, register
from keras_penalties._value_checks import ChecksFirstBatch
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import _graph, _hidden_losses
from keras_penalties.models._base import ModelOfModels


def _of_wrapped(name):
    return property(lambda self: getattr(self.model, name), doc=f"The wrapped model's `{name}`.")


def _of_graph(name):
    """As `_of_wrapped`; a Sequential model has these of its own only once it was called."""
    doc = f"The wrapped model's `{name}`."
    return property(lambda self: getattr(_graph.as_functional(self.model), name), doc=doc)


@register
class HiddenOutputs(ModelOfModels):
    """A model whose compiled losses see its hidden layers, by name, in one forward pass.

    `fit(x, y)`, `evaluate`, `predict`, metrics, `sample_weight`, `class_weight` and `export` work as
    those of the wrapped model, which stays reachable as `.model` and shares its weights. The logs show
    `loss`, which is `main_loss` (the compiled loss alone) plus `<name>_loss` for each hidden term (the
    slashes of a path as `_`), the wrapped model's `ActivityPenalty` layers under their own names, and
    `regularization_loss`, the sum of its other losses, where it has any. Checkpoints of the wrapped model
    load into this one, and back.

    Args:
        model: a functional or Sequential model, built.
        hidden: the hidden tensors, as a list of names or a dict of name to reference. A reference is a
            layer's name, a path into nested models (`"vgg16/block3_conv3"`), a layer's second output
            (`"lstm:1"`), the second use of a layer that is called more than once (`"encoder@1"`), or,
            in a dict, a symbolic tensor of the model.
        name: the name of this model.

    Example:

    >>> import keras, numpy as np, keras_penalties as kp
    >>> model = keras.Sequential([keras.Input((2,)),
    ...     keras.layers.Dense(3, kernel_initializer="ones", name="dense_4"),
    ...     keras.layers.Dense(1, kernel_initializer="ones")])
    >>> model = kp.models.HiddenOutputs(model, hidden=["dense_4"])
    >>> model.compile(loss="mse", hidden_losses={"dense_4": kp.regularizers.L2(0.1)})
    >>> x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
    >>> logs = model.evaluate(x, y, verbose=0, return_dict=True)
    >>> round(float(logs["main_loss"]), 4), round(float(logs["dense_4_loss"]), 4)  # 6**2, 0.1 * 3 * 2**2
    (36.0, 1.2)

    Raises:
        TypeError: if `model` is not a Keras model.
        ValueError: if `model` cannot be wired anew (subclassed, not built, with a training step or loss
            of its own), or `hidden` names what is not there, or what several layers match.
    """

    def __init__(self, model, hidden=(), name=None, **kwargs):
        super().__init__(name=name or f"{getattr(model, 'name', 'model')}_with_hidden_outputs", **kwargs)
        if isinstance(model, HiddenOutputs):
            raise ValueError(
                f"`model` of HiddenOutputs is a HiddenOutputs itself ('{model.name}'). Wrap its `.model`, "
                "and name all hidden tensors at once."
            )
        _graph.check_model(model)
        self.model = model
        if hasattr(model, "output_names"):
            self.output_names = model.output_names
        references = _graph.references(model, hidden)
        self._state = _State(references)
        paths = {name: _graph.find(model, reference) for name, reference in references.items()}
        self._state.probe = _graph.expose(model, paths)
        self._owned = _Owned()
        self.build(None)

    @property
    def hidden(self) -> dict:
        """Where each hidden tensor is: its reference, by its name."""
        return dict(self._state.references)

    layers = _of_wrapped("layers")
    inputs = _of_wrapped("inputs")
    outputs = _of_wrapped("outputs")
    input = _of_graph("input")
    output = _of_graph("output")
    input_shape = _of_wrapped("input_shape")
    output_shape = _of_wrapped("output_shape")

    def call(self, inputs, training=None, mask=None):
        outputs, hidden = self._state.probe(inputs, training=training, mask=mask)
        masks = {name: get_keras_mask(tensor) for name, tensor in hidden.items()}
        self._state.seen[replicas.replica()] = hidden, masks
        return outputs

    def compute_output_spec(self, inputs, training=None, mask=None):
        return self.model.compute_output_spec(inputs)

    def compile(
        self,
        optimizer="rmsprop",
        loss=None,
        loss_weights=None,
        metrics=None,
        weighted_metrics=None,
        *,
        hidden_losses=None,
        hidden_loss_weights=None,
        joint_loss=None,
        **kwargs,
    ):
        """Configure training: Keras' own arguments, and what is done with the hidden tensors.

        Args:
            optimizer: as in Keras; so are `loss`, `loss_weights`, `metrics`, `weighted_metrics` and
                the further keyword arguments.
            hidden_losses: a dict of hidden name, or tuple of names for what compares tensors, to a
                penalty, a list of penalties, a Keras loss, or a function of `(y_true, hidden)`. Losses
                use `sample_weight` and `class_weight`; penalties do not. A model with several outputs
                hands its whole `y` to such a loss.
            hidden_loss_weights: a dict of the same keys to floats, for losses; a penalty has its
                strength.
            joint_loss: a function of `(y_true, y_pred, hidden)`, `hidden` being a dict by name, that
                gives a scalar or one value an example. It is added, and shown as `joint_loss`.
        """
        specs = self._state.probe.output[1]
        terms = _hidden_losses.make_terms(hidden_losses, hidden_loss_weights, specs)
        _hidden_losses.refuse_lambda(joint_loss, "joint_loss")
        if joint_loss is not None and not callable(joint_loss):
            raise TypeError(
                "`joint_loss` must be a function of (y_true, y_pred, hidden). "
                f"Received: {joint_loss!r} (of type {type(joint_loss).__name__})."
            )
        self._refuse_taken_keys(terms)
        super().compile(optimizer, loss, loss_weights, metrics, weighted_metrics, **kwargs)
        self._state.terms, self._state.joint_loss = terms, joint_loss
        self._owned.hold([term.make_state(specs) for term in terms])
        keys = [*(["main_loss"] if loss is not None else []), *(key for term in terms for key in term.keys)]
        self.show_means_of([*keys, *(["joint_loss"] if joint_loss is not None else [])])

    def _refuse_taken_keys(self, terms):
        outputs = getattr(self, "output_names", ())
        taken = {"main_loss", "joint_loss", "regularization_loss"}
        taken |= {f"{name}_loss" for name in outputs} if len(outputs) > 1 else set()
        for term in terms:
            if term.key in taken:
                raise ValueError(
                    f"`hidden_losses` has the key {term.names!r}, which would be logged as '{term.key}', "
                    "a name that is taken. Give the hidden tensor another name with a dict: "
                    f"hidden={{'another': '{self._state.references[term.names[0]]}'}}."
                )
            taken.add(term.key)

    def check_batch(self, x, y):
        losses = [(self.loss, None), *((term.loss, term) for term in self._state.terms)]
        losses = [(loss, term) for loss, term in losses if isinstance(loss, ChecksFirstBatch)]
        if losses:
            output = self(x)
            hidden, _ = self._state.seen[replicas.replica()]
            for loss, term in losses:
                prediction = output if term is None else term.pick(hidden)
                loss.refuse(_hidden_losses.one_label(y), keras.ops.convert_to_numpy(prediction))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        state, losses, shown = self._state, [], {}
        if self._compile_loss is not None:
            main = self._compile_loss(y, y_pred, sample_weight)
            losses.append(main)
            shown["main_loss"] = replicas.unscale(main)
        hidden, masks = state.seen.get(replicas.replica(), ({}, {}))
        for term in state.terms:
            if term.loss is not None:
                value = term.labelled(y, hidden, sample_weight, training)
                shown[term.key] = replicas.unscale(value)
            else:
                values = term.penalty(hidden, masks, training)
                shown |= values
                value = self._aggregate_additional_loss(values[term.key])
            losses.append(value)
        if state.joint_loss is not None:
            value = state.joint_loss(_hidden_losses.one_label(y), y_pred, hidden)
            value = _hidden_losses.returned_by(state.joint_loss, value)
            value = _hidden_losses.reduce(value, _hidden_losses.one_weight(sample_weight))
            shown["joint_loss"] = value
            losses.append(self._aggregate_additional_loss(value))
        own = self.losses
        unnamed = [loss for loss in own if not any(loss is named for named in self._named_losses())]
        losses.extend(self._aggregate_additional_loss(loss) for loss in own)
        if not losses:
            raise ValueError("There is no loss to train on. Give `loss=` or `hidden_losses=` to `compile()`.")
        self.show({**shown, **self.unnamed(unnamed)}, x)
        return sum(losses[1:], start=losses[0])

    def _named_losses(self):
        layers = (layer for layer in self._flatten_layers() if isinstance(layer, ActivityPenalty))
        return [loss for layer in layers for loss in layer._added.losses]

    def export(self, filepath, *args, **kwargs):
        """Export the wrapped model: nothing of this package is left in the file."""
        return self.model.export(filepath, *args, **kwargs)

    def _obj_type(self):
        # Weights are laid out in a file as the wrapped model's own: each loads the other's.
        return self.model._obj_type()

    def get_config(self):
        model = keras.saving.serialize_keras_object(self.model)
        return {"model": model, "hidden": dict(self._state.references), "name": self.name}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return made(cls, config, "model", custom_objects=custom_objects)

    def get_compile_config(self):
        if not self.compiled:
            return {}
        terms = self._state.terms
        serialize = _hidden_losses.serialize
        return {
            **super().get_compile_config(),
            "hidden_losses": [
                [list(t.names), serialize(t.given, f"hidden_losses[{'_'.join(t.names)!r}]")] for t in terms
            ],
            "hidden_loss_weights": [[list(t.names), t.weight] for t in terms if t.loss is not None],
            "joint_loss": serialize(self._state.joint_loss, "joint_loss"),
        }

    def compile_from_config(self, config):
        config = keras.saving.deserialize_keras_object(config)
        for key in ("hidden_losses", "hidden_loss_weights"):
            pairs = config.pop(key, [])
            config[key] = {tuple(names) if len(names) > 1 else names[0]: value for names, value in pairs}
        self.compile(**config)
        if self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)


class _Owned(keras.layers.Layer):
    """The state of compiled terms, which comes after the wrapper was built."""

    def __init__(self):
        super().__init__(name="hidden_losses", dtype="float32")
        self.built = True
        self.terms = []

    def hold(self, states):
        self.terms.clear()
        self.terms.extend(state for state in states if state is not None)


class _State:
    """What the wrapper holds beside layers and weights, out of sight of attribute tracking."""

    def __init__(self, references):
        self.references = references
        self.probe: Any = None
        self.joint_loss: Any = None
        self.seen, self.terms = {}, []
