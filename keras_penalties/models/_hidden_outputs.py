"""A wrapper that passes hidden tensors to compiled losses."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import keras
from keras import tree

from keras_penalties._keras import graphs, replicas, scopes, steps
from keras_penalties._keras.hooks import ModelAround
from keras_penalties._keras.layers import all_sublayers
from keras_penalties._keras.losses import weights_for
from keras_penalties._keras.metrics import add_hidden_metrics, hidden_metrics
from keras_penalties._serialization import made, register
from keras_penalties._tensors.models import check_built
from keras_penalties._types import Config, Tensor, Tensors
from keras_penalties.layers import ActivityPenalty
from keras_penalties.models import _hidden_losses, _loss_arguments
from keras_penalties.models._base import ModelOfModels
from keras_penalties.models._hidden import Hidden
from keras_penalties.models._state import HiddenState, Owned
from keras_penalties.models._step_data import StepData
from keras_penalties.models._wrapped import of_graph, of_wrapped, refuse_own_steps


@register
class HiddenOutputs(ModelAround, ModelOfModels):
    """A model whose compiled losses and penalties get its hidden tensors, by name, in one forward pass.

    `fit(x, y)`, `evaluate`, `predict`, metrics, `sample_weight`, `class_weight` and `export` work as in
    the wrapped model, which is available as `.model` and shares its weights. The logs show
    `loss`, which is `main_loss` (the compiled loss alone) plus `<name>_loss` for each hidden term (with
    `_` for the slashes of a path), the wrapped model's `ActivityPenalty` layers under their own names, and
    `regularization_loss`, the sum of its other losses, if it has any. `evaluate` returns a list, or a dict
    with `return_dict=True`. Checkpoints of the wrapped model load into this one, and the reverse.

    A penalty that compares tensors of `model`, such as `Hint`, has a tuple of names as its key:
    `hidden_losses={("student/dense", "teacher/dense"): Hint(1.0, projection=True)}`.

    Args:
        model: a built Keras model: functional, Sequential, or subclassed with only a `call`. For a model
            with its own `train_step`, `fit` or similar, use `penalize`.
        hidden: the hidden tensors, as a list of names or a dict of names to references. A reference is a
            layer's name, a path through the layers around it (`"vgg16/block3_conv3"`,
            `"transformer_layer_3/feedforward_intermediate_dense"`), a layer's second output (`"lstm:1"`), the
            second use of a layer that is called more than once (`"encoder@1"`), the input of its activation
            (`"dense_4:preactivation"`) or of the layer (`"dense_4:input"`), or, in a dict, a symbolic tensor
            of the model or a `Gradient`, the derivative of one tensor with respect to another. A shell
            pattern in a list matches several tensors, each under its own name.
            `list_tensors` lists the names.
        mask_from: the name of an input of the model that is a mask, such as KerasHub's `"padding_mask"`, or
            token ids padded with 0; or a dict from names of hidden tensors to such names. What is not zero
            counts. It is combined with the mask that Keras keeps with a tensor, which is usually lost after
            an addition inside a block of your own. Penalties and losses ignore what it drops.
        name: the name of this model.

    Example:

    >>> import keras, numpy as np, keras_penalties as kp
    >>> model = keras.Sequential([keras.Input((2,)),
    ...     keras.layers.Dense(3, kernel_initializer="ones", name="dense_4"),
    ...     keras.layers.Dense(1, kernel_initializer="ones")])
    >>> model = kp.models.HiddenOutputs(model, hidden=["dense_4"])
    >>> model.compile(loss="mse", hidden_losses={"dense_4": kp.regularizers.L2(0.1)})
    >>> x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
    >>> logs = model.evaluate(x, y, verbose=0, return_dict=True)  # 6**2, 0.1 * 3 * 2**2
    >>> round(float(logs["main_loss"]), 4), round(float(logs["dense_4_loss"]), 4)
    (36.0, 1.2)

    Raises:
        TypeError: if `model` is not a Keras model.
        ValueError: if `model` is not built, or has its own training step, loss, `fit` or similar, which this
            model would not use; if a name in `hidden` matches nothing, or several layers, or a
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
                f"`model` of HiddenOutputs is already a HiddenOutputs ('{model.name}'). Wrap its `.model`, "
                "and name all hidden tensors at once."
            )
        check_built(model, "HiddenOutputs")
        refuse_own_steps(model)
        self.model = model
        if hasattr(model, "output_names"):
            self.output_names = model.output_names
        self._state = HiddenState(Hidden(model, hidden, mask_from))
        self._capture_again()
        self._owned = Owned()
        self.build_as_graph()

    @property
    def hidden(self) -> dict:
        """The reference of each hidden tensor, by its name."""
        return self._state.hidden.references()

    @property
    def terms(self) -> list:
        """The hidden losses that were compiled."""
        return self._state.terms

    @property
    def joint_loss(self) -> Any:
        """The joint loss that was compiled, or None."""
        return self._state.joint_loss

    def get_running_model(self) -> keras.Model:
        """The model that runs: a copy of the wrapped one, whose layers also return the hidden tensors."""
        return self._state.probe.tapped

    layers = of_wrapped("layers")
    inputs = of_wrapped("inputs")
    outputs = of_wrapped("outputs")
    input = of_graph("input")
    output = of_graph("output")
    input_shape = of_wrapped("input_shape")
    output_shape = of_wrapped("output_shape")

    def call(self, inputs: Tensors, training: bool | None = None, mask: Tensors = None) -> Tensors:
        forward = self._state.probe(inputs, training=training, mask=mask)
        self._state.forward[replicas.replica()] = forward
        return forward.outputs

    def _capture_again(self):
        """Copy the layers of hidden tensors again, since LoRA or `quantize` may have changed them."""
        self._state.probe = self._state.hidden.capture(self.model)

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
        hidden_targets: Mapping | None = None,
        hidden_metrics: Mapping | None = None,
        hidden_weighted_metrics: Mapping | None = None,
        hidden_names: Mapping | None = None,
        joint_loss: Callable | None = None,
        **kwargs: Any,
    ) -> None:
        """Configure training: the arguments of Keras, and the same for hidden tensors.

        Compiling again keeps the state of terms that stay the same: what they learned, and their place in a
        schedule.

        Args:
            optimizer: as in Keras; so are `loss`, `loss_weights`, `metrics`, `weighted_metrics` and
                the further keyword arguments.
            hidden_losses: a dict from a hidden name, or a tuple of names to compare tensors, to a
                penalty, a list of penalties, a Keras loss, or a function of `(y_true, hidden)`. Losses
                use `sample_weight`, `class_weight` and the mask of the hidden tensor as Keras does for
                an output; penalties use only the mask.
            hidden_loss_weights: a dict from the same keys to numbers, or to strengths over time, for losses;
                a penalty has its strength. A weight that changes is logged as `<name>_loss_weight`.
            hidden_targets: a dict from the same keys to the labels, and their sample weights, that a hidden
                tensor gets: the name of an output, another key of `y`, or the name of an input, which the
                tensor then reconstructs. By default, a loss gets the labels of the only output, and a
                function all of `y`.
            hidden_metrics: a dict from a hidden name to a metric or a list of metrics, logged as
                `<name>_<metric>`, with the labels of the hidden tensor.
            hidden_weighted_metrics: as `hidden_metrics`, with sample weights.
            hidden_names: a dict from the same keys to other names in the logs:
                `{("mean", "log_var"): "kl"}` gives `kl_loss`.
            joint_loss: a function of `(y_true, y_pred, hidden)`, with `hidden` a dict by name, that
                returns a scalar, or one value per example or per step. It is reduced with weights and
                with the mask of `y_pred` as Keras reduces a loss function, added to the loss, and
                logged as `joint_loss`.

        Raises:
            TypeError: if an argument has a wrong type.
            ValueError: if a key is not a hidden tensor, or a hidden tensor is a key of an argument for
                outputs; if a loss compares labels with several tensors, or has no reduction.
        """
        self._capture_again()
        specs = self._state.hidden.specs(self._state.probe)
        arguments = ("loss", "loss_weights", "metrics", "weighted_metrics")
        of_outputs = dict(zip(arguments, (loss, loss_weights, metrics, weighted_metrics), strict=True))
        _hidden_losses.refuse_hidden_names(of_outputs, specs, graphs.output_names(self.model))
        hidden = _hidden_losses.HiddenArguments(
            specs,
            hidden_losses=hidden_losses,
            hidden_loss_weights=hidden_loss_weights,
            hidden_targets=hidden_targets,
            hidden_metrics=hidden_metrics,
            hidden_weighted_metrics=hidden_weighted_metrics,
            hidden_names=hidden_names,
        )
        terms = hidden.terms()
        _loss_arguments.check_joint_loss(joint_loss)
        _hidden_losses.refuse_taken_keys(terms, getattr(self, "output_names", ()))
        super().compile(optimizer, loss, loss_weights, metrics, weighted_metrics, **kwargs)
        add_hidden_metrics(self, {name: of for name, *of in hidden.metrics().values()})
        self._state.compile(hidden, terms, joint_loss, specs)
        directions = self._state.hidden.directions.values()
        self._owned.hold([*(state for term in terms for state in term.states), *directions])
        keys = [*(["main_loss"] if loss is not None else []), *(key for term in terms for key in term.keys)]
        keys += ["joint_loss"] if joint_loss is not None else []
        self.show_means_of(keys, [key for term in terms for key in term.averaged])

    def note_weights(self, training: bool, y: Tensors, sample_weight: Tensors) -> None:
        copied = tree.is_nested(y) and sample_weight is not None and not tree.is_nested(sample_weight)
        if copied != self._state.one_weight[training]:  # the compiled function may be for the other kind
            self._state.one_weight[training] = copied
            setattr(self, "train_function" if training else "test_function", None)

    def _data(self, x, y, sample_weight, y_pred, training: bool | None = False) -> StepData:
        outputs = graphs.output_names(self.model) or (list(y_pred) if isinstance(y_pred, dict) else [])
        inputs = graphs.input_names(self.model) if graphs.is_graph(self.model) else []
        return StepData(x, y, sample_weight, outputs, inputs, self._state.one_weight[bool(training)])

    def check_batch(self, x: Tensors, y: Tensors) -> None:
        def run():
            output = self(x)
            return self._data(x, y, None, output), output, *self._state.hidden_and_masks

        _hidden_losses.refuse_values(self.loss, self._state.terms, run)

    def compute_loss(
        self,
        x: Tensors = None,
        y: Tensors = None,
        y_pred: Tensors = None,
        sample_weight: Tensors = None,
        training: bool | None = True,
    ) -> Tensor:
        losses, shown = [], {}
        data = self._data(x, y, sample_weight, y_pred, training)
        of_outputs, compiled = data.of_outputs(self._state.targets), steps.compiled_loss(self)
        if compiled is not None:
            main = compiled(of_outputs.y, y_pred, weights_for(of_outputs.sample_weight, y_pred))
            losses.append(main)
            shown["main_loss"] = replicas.unscale(main)
        for value, values in self._state.added(data, y_pred, training, self.scaled):
            losses.append(value)
            shown |= values
        metrics = hidden_metrics(self)
        if metrics is not None:  # here, since on JAX a hidden tensor does not outlive the gradient
            for measured in self._state.measured(data):
                metrics.update_hidden(*measured)
        own = self.losses
        unnamed = [loss for loss in own if not any(loss is named for named in self._named_losses())]
        losses.extend(self.scaled(loss) for loss in own)
        if not losses:
            raise ValueError("There is no loss to train on. Pass `loss=` or `hidden_losses=` to `compile()`.")
        self.show({**shown, **self.unnamed(unnamed)}, (x, y_pred))
        return sum(losses[1:], start=losses[0])

    def compute_metrics(self, x: Tensors, y: Tensors, y_pred: Tensors, sample_weight: Tensors = None) -> dict:
        metrics = hidden_metrics(self)
        if metrics is not None and scopes.is_symbolic():
            for measured in self._state.measured(self._data(x, y, None, y_pred)):
                metrics.build_hidden(*measured)
        data = self._data(x, y, sample_weight, y_pred).of_outputs(self._state.targets)
        return super().compute_metrics(x, data.y, y_pred, data.sample_weight)

    def _named_losses(self):
        layers = (layer for layer in all_sublayers(self) if isinstance(layer, ActivityPenalty))
        return [loss for layer in layers for loss in layer.added_losses]

    @property
    def graph(self) -> keras.Model:
        """The wrapped model, which is what `export` writes: nothing of this package is in the file."""
        return self.model

    def get_config(self) -> Config:
        model = keras.saving.serialize_keras_object(self.model)
        return {**super().get_config(), "model": model, **self._state.hidden.config()}

    @classmethod
    def from_config(cls, config: Config, custom_objects: dict | None = None) -> Self:
        return made(cls, config, "model", custom_objects=custom_objects)

    def get_compile_config(self) -> dict:
        if not self.compiled:
            return {}
        joint_loss = _loss_arguments.serialize(self._state.joint_loss, "joint_loss")
        return {**super().get_compile_config(), **self._state.arguments.config(), "joint_loss": joint_loss}

    def arguments_of_compile(self, config: Config) -> dict:
        return _hidden_losses.HiddenArguments.from_config(config)
