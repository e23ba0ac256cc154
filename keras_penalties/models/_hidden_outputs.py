"""A wrapper that gives hidden tensors to compiled losses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import keras
from keras import ops, tree

from keras_penalties import _numerics
from keras_penalties._keras import graphs, replicas, steps
from keras_penalties._keras.hooks import ModelAround
from keras_penalties._keras.layers import all_sublayers
from keras_penalties._keras.losses import weights_for
from keras_penalties._keras.masks import with_masks
from keras_penalties._serialization import made, register
from keras_penalties._tensors.capture import Capture
from keras_penalties._tensors.masks import mask_names
from keras_penalties._tensors.models import check_built
from keras_penalties._tensors.references import hidden_tensors, reference_to, to_config
from keras_penalties._types import Config, Tensor, Tensors
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import _hidden_losses, _loss_arguments
from keras_penalties.models._base import ModelOfModels
from keras_penalties.models._labels import naming, one_label, one_weight
from keras_penalties.models._state import HiddenState, Owned
from keras_penalties.models._wrapped import of_graph, of_wrapped, refuse_own_steps


@register
class HiddenOutputs(ModelAround, ModelOfModels):
    """A model whose compiled losses and penalties get its hidden tensors, by name, in one forward pass.

    `fit(x, y)`, `evaluate`, `predict`, metrics, `sample_weight`, `class_weight` and `export` work as
    those of the wrapped model, which is available as `.model` and shares its weights. The logs show
    `loss`, which is `main_loss` (the compiled loss alone) plus `<name>_loss` for each hidden term (with
    `_` for the slashes of a path), the wrapped model's `ActivityPenalty` layers under their own names, and
    `regularization_loss`, the sum of its other losses, if it has any. `evaluate` returns a list, or a dict
    with `return_dict=True`. Checkpoints of the wrapped model load into this one, and the reverse.

    Args:
        model: a built Keras model: functional, Sequential, or subclassed with only a `call`. For a model
            with a `train_step`, `fit` or the like of its own, use `penalize`.
        hidden: the hidden tensors, as a list of names or a dict of names to references. A reference is a
            layer's name, a path through what holds it (`"vgg16/block3_conv3"`,
            `"transformer_layer_3/feedforward_intermediate_dense"`), a layer's second output (`"lstm:1"`), the
            second use of a layer that is called more than once (`"encoder@1"`), what goes into its activation
            (`"dense_4:preactivation"`) or into it (`"dense_4:input"`), or, in a dict, a symbolic tensor of
            the model. A shell pattern in a list means several tensors, each under its own name.
            `list_tensors` lists the names.
        mask_from: the name of an input of the model that is a mask, such as KerasHub's `"padding_mask"`; or a
            dict of names of hidden tensors to such names. It is combined with the mask that Keras keeps with
            a tensor. Penalties and losses do not count what it drops.
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
        ValueError: if `model` is not built, or has a training step, a loss, a `fit` or the like of its own,
            which this model would not use; if a name in `hidden` matches nothing, or several layers, or a
            layer that runs in a loop over time or is rematerialized.
    """

    def __init__(
        self,
        model: keras.Model,
        hidden: Sequence[str] | Mapping[str, Any] = (),
        mask_from: str | Mapping | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name or f"{getattr(model, 'name', 'model')}_with_hidden_outputs", **kwargs)
        if isinstance(model, HiddenOutputs):
            raise ValueError(
                f"`model` of HiddenOutputs is a HiddenOutputs itself ('{model.name}'). Wrap its `.model`, "
                "and name all hidden tensors at once."
            )
        check_built(model, "HiddenOutputs")
        refuse_own_steps(model)
        self.model = model
        if hasattr(model, "output_names"):
            self.output_names = model.output_names
        tensors = hidden_tensors(model, hidden)
        self._state = HiddenState({name: reference_to(tensor) for name, tensor in tensors.items()})
        self._state.probe = Capture(model, tensors, mask_names(mask_from, tensors, "hidden", "HiddenOutputs"))
        self._owned = Owned()
        self.build_as_graph()

    @property
    def hidden(self) -> dict:
        """The reference of each hidden tensor, by its name."""
        return dict(self._state.references)

    @property
    def terms(self) -> list:
        """The hidden losses that were compiled."""
        return self._state.terms

    @property
    def joint_loss(self) -> Any:
        """The joint loss that was compiled, or None."""
        return self._state.joint_loss

    def get_running_model(self) -> keras.Model:
        """The model that runs: the wrapped one, in which the layers of hidden tensors return them."""
        return self._state.probe.tapped

    layers = of_wrapped("layers")
    inputs = of_wrapped("inputs")
    outputs = of_wrapped("outputs")
    input = of_graph("input")
    output = of_graph("output")
    input_shape = of_wrapped("input_shape")
    output_shape = of_wrapped("output_shape")

    def call(self, inputs: Tensors, training: bool | None = None, mask: Tensors = None) -> Tensors:
        outputs, *seen = self._state.probe(inputs, training=training, mask=mask)
        self._state.seen[replicas.replica()] = seen
        return outputs

    def _capture_again(self):
        """Copy the layers of hidden tensors again, which LoRA or `quantize` may have changed."""
        self._state.probe = Capture(self.model, self._state.probe.tensors, self._state.probe.mask_from)

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        super().quantize(*args, **kwargs)
        self._capture_again()

    def compute_output_spec(self, inputs: Tensors, training: bool | None = None, mask: Tensors = None) -> Any:
        return self.model.compute_output_spec(inputs)

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        *,
        hidden_losses: Mapping | None = None,
        hidden_loss_weights: Mapping | None = None,
        joint_loss: Callable | None = None,
        **kwargs: Any,
    ) -> None:
        """Configure training: Keras' own arguments, and the losses of the hidden tensors.

        Args:
            optimizer: as in Keras; so are `loss`, `loss_weights`, `metrics`, `weighted_metrics` and
                the further keyword arguments.
            hidden_losses: a dict of hidden name, or tuple of names for what compares tensors, to a
                penalty, a list of penalties, a Keras loss, or a function of `(y_true, hidden)`. Losses
                use `sample_weight`, `class_weight` and the mask of the hidden tensor as Keras does for
                an output; penalties use only the mask. A loss gets the labels of a model with one
                output; a function gets the whole `y`.
            hidden_loss_weights: a dict of the same keys to floats, for losses; a penalty has its
                strength.
            joint_loss: a function of `(y_true, y_pred, hidden)`, `hidden` being a dict by name, that
                returns a scalar, or one value per example or per step. It is reduced with weights and
                with the mask of `y_pred` as Keras reduces a loss function, added to the loss, and
                logged as `joint_loss`.

        Raises:
            TypeError: if an argument has a wrong type.
            ValueError: if a key is not a hidden tensor, or a hidden tensor is a key of an argument for
                outputs; if a loss compares labels with several tensors, or has no reduction.
        """
        self._capture_again()
        specs = self._state.probe.specs()
        arguments = ("loss", "loss_weights", "metrics", "weighted_metrics")
        of_outputs = dict(zip(arguments, (loss, loss_weights, metrics, weighted_metrics), strict=True))
        _hidden_losses.refuse_hidden_names(of_outputs, specs, graphs.output_names(self.model))
        terms = _hidden_losses.make_terms(hidden_losses, hidden_loss_weights, specs)
        _loss_arguments.refuse_lambda(joint_loss, "joint_loss")
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
        keys += ["joint_loss"] if joint_loss is not None else []
        self.show_means_of(keys, [key for term in terms for key in term.averaged])

    def _refuse_taken_keys(self, terms):
        outputs = getattr(self, "output_names", ())
        taken = {"main_loss", "joint_loss", "regularization_loss"}
        taken |= {f"{name}_loss" for name in outputs} if len(outputs) > 1 else set()
        for term in terms:
            if term.key in taken:
                raise ValueError(
                    f"`hidden_losses` has the key {term.names!r}, which would be logged as '{term.key}', "
                    "a key that is already used. Give the hidden tensor another name with a dict: "
                    f"hidden={{'another': '{self._state.references[term.names[0]]}'}}."
                )
            taken.add(term.key)

    def check_batch(self, x: Tensors, y: Tensors) -> None:
        def run():
            output = self(x)
            return output, *self._state.seen[replicas.replica()]

        _hidden_losses.refuse_values(self.loss, self._state.terms, y, run)

    def compute_loss(
        self,
        x: Tensors = None,
        y: Tensors = None,
        y_pred: Tensors = None,
        sample_weight: Tensors = None,
        training: bool | None = True,
    ) -> Tensor:
        state, losses, shown = self._state, [], {}
        compiled = steps.compiled_loss(self)
        if compiled is not None:
            main = compiled(y, y_pred, weights_for(sample_weight, y_pred))
            losses.append(main)
            shown["main_loss"] = replicas.unscale(main)
        hidden, masks = state.seen.get(replicas.replica(), ({}, {}))
        for term in state.terms:
            if term.loss is not None:
                value = term.labelled(y, hidden, masks, sample_weight, training)
                shown[term.key] = replicas.unscale(value)
            else:
                values = term.penalty(hidden, masks, training)
                shown |= values
                value = self.scaled(values[term.key])
            losses.append(value)
        if state.joint_loss is not None:
            value = self._joint_loss(y, y_pred, with_masks(hidden, masks), sample_weight)
            shown["joint_loss"] = replicas.unscale(value)
            losses.append(value)
        own = self.losses
        unnamed = [loss for loss in own if not any(loss is named for named in self._named_losses())]
        losses.extend(self.scaled(loss) for loss in own)
        if not losses:
            raise ValueError("There is no loss to train on. Give `loss=` or `hidden_losses=` to `compile()`.")
        self.show({**shown, **self.unnamed(unnamed)}, (x, y_pred))
        return sum(losses[1:], start=losses[0])

    def _joint_loss(self, y, y_pred, hidden, sample_weight):
        y = tree.map_structure(lambda a: a if a is None else ops.convert_to_tensor(a), one_label(y))
        weight = one_weight(sample_weight, "joint_loss")
        with naming("joint_loss", labels=y, predictions=y_pred, sample_weight=weight):
            values = self._state.joint_loss(y, y_pred, hidden)
            values = _loss_arguments.returned_by(self._state.joint_loss, values)
            return _numerics.as_loss(_loss_arguments.mean_of_joint_loss(values, y_pred, weight))

    def _named_losses(self):
        layers = (layer for layer in all_sublayers(self) if isinstance(layer, ActivityPenalty))
        return [loss for layer in layers for loss in layer.added_losses]

    @property
    def graph(self) -> keras.Model:
        """The wrapped model, which is what `export` writes: nothing of this package is in the file."""
        return self.model

    def get_config(self) -> Config:
        model = keras.saving.serialize_keras_object(self.model)
        hidden = {name: to_config(tensor) for name, tensor in self._state.probe.tensors.items()}
        config = {**super().get_config(), "model": model, "hidden": hidden}
        masks = {name: mask for name, mask in self._state.probe.mask_from.items() if mask is not None}
        return {**config, "mask_from": masks} if masks else config

    @classmethod
    def from_config(cls, config: Config, custom_objects: dict | None = None) -> Self:
        return made(cls, config, "model", custom_objects=custom_objects)

    def get_compile_config(self) -> dict:
        if not self.compiled:
            return {}
        terms = self._state.terms
        serialize = _loss_arguments.serialize
        return {
            **super().get_compile_config(),
            "hidden_losses": [
                [list(t.names), serialize(t.given, f"hidden_losses[{'_'.join(t.names)!r}]")] for t in terms
            ],
            "hidden_loss_weights": [[list(t.names), t.weight] for t in terms if t.loss is not None],
            "joint_loss": serialize(self._state.joint_loss, "joint_loss"),
        }

    def arguments_of_compile(self, config: Config) -> dict:
        for key in ("hidden_losses", "hidden_loss_weights"):
            pairs = config.pop(key, [])
            config[key] = {tuple(names) if len(names) > 1 else names[0]: value for names, value in pairs}
        return config
