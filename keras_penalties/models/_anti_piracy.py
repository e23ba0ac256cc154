"""A classifier that works on inputs processed with its key, and is useless on others."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from keras_penalties import _checks, _numerics
from keras_penalties._keras import replicas
from keras_penalties._keras.losses import weights_for
from keras_penalties._serialization import made, register
from keras_penalties._types import Config, Tensor, Tensors
from keras_penalties.losses import CategoricalCrossentropy, Confusion
from keras_penalties.losses._class_ids import class_ids, warn_about_signs, weights_of_labelled
from keras_penalties.models._base import ModelOfModels, input_of
from keras_penalties.models._loss_arguments import refuse_unreduced

_TERMS = ("processed_loss", "raw_loss")
_SOMETIMES = ("perturbation_loss", "regularization_loss")
_ACCURACIES = ("processed_accuracy", "raw_accuracy")


@register
class AntiPiracy(ModelOfModels):
    r"""Trains a classifier and a transform so that only transformed inputs are classified.

    $$E = \alpha E_p + \beta E_r + \gamma \lVert x_p - x_r\rVert_2^2,\qquad x_p = G(x_r)$$

    \(E_p\) is the cross-entropy on the processed input, \(E_r\) the confusion of the raw input, and the last
    term the squared size of the perturbation, summed over an example and averaged over the batch. `fit(x, y)`
    takes raw inputs and their labels: classes from 0, or one-hot. A row without a label (a negative class, or
    a one-hot row of zeros) counts only in the last term. `predict(x)` transforms and classifies, which gives
    the authorized answer.

    The logs show each term as it is added, after its weight: `processed_loss`, `raw_loss`, and
    `perturbation_loss` unless `gamma` is 0; losses inside the two models as `regularization_loss`; and both
    accuracies. The model is saved as a whole; `.classifier` and `.transform` are models that can be saved
    separately.

    Args:
        classifier: a built model from inputs to class probabilities `(batch, classes)`.
        transform: the key \(G\): a layer or model whose output has its input's shape, such as
            `layers.UniversalPerturbation(0.5)` for one learned pattern,
            `keras.layers.Rescaling(1.0, offset=pattern.tolist())` for one that you already have, or any model
            for one change per input.
        alpha: the weight of \(E_p\), a finite float >= 0. Defaults to 1.0.
        beta: the weight of \(E_r\), a finite float >= 0. Defaults to 1.0.
        gamma: the weight of the perturbation, a finite float >= 0. Use 0 if the transform learns nothing.
            Defaults to 0.1.
        from_logits: whether the classifier returns logits instead of probabilities. Defaults to False.
        raw_loss: the loss on the raw input, a `keras.losses.Loss`. It gets one-hot labels and the answers to
            raw inputs (logits if `from_logits`), both `(batch, classes)`, and sample weights. Defaults to
            `losses.Confusion`, as in the paper.
        value_range: a pair `(low, high)` in which raw and processed inputs must be, or None; checked
            on the first batch.
        name: the name of this model.

    Example:

    >>> import keras, numpy as np, keras_penalties as kp
    >>> answer = keras.layers.Dense(3, activation="softmax")
    >>> classifier = keras.Sequential([keras.Input((4,)), answer])
    >>> model = kp.models.AntiPiracy(classifier, kp.layers.UniversalPerturbation(0.5))
    >>> model.compile("adam")
    >>> history = model.fit(np.zeros((8, 4)), np.zeros(8, "int32"), verbose=0).history
    >>> sorted(history)  # doctest: +NORMALIZE_WHITESPACE
    ['loss', 'perturbation_loss', 'processed_accuracy', 'processed_loss',
     'raw_accuracy', 'raw_loss']

    Raises:
        TypeError: if `classifier` is not a model, `transform` not a layer, `raw_loss` not a loss, or a weight
            not a number.
        ValueError: if a weight is negative; if `value_range` is not an increasing pair of numbers; if the
            transform's output does not have its input's shape; at `fit`, if labels are not classes, or
            a value is outside `value_range`.

    Source: Chen and Wu, Protect Your Deep Neural Networks from Piracy, WIFS 2018. The authors hold the US
    patent 11,687,623 B2 on a framework of this kind: check before commercial use.
    """

    def __init__(
        self,
        classifier: keras.Model,
        transform: keras.Model,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 0.1,
        from_logits: bool = False,
        raw_loss: Any = None,
        value_range: tuple[float, float] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        weights = {"alpha": alpha, "beta": beta, "gamma": gamma}
        weights = {k: _checks.number(v, k, "AntiPiracy", at_least=0.0) for k, v in weights.items()}
        self.alpha, self.beta, self.gamma = weights.values()
        self.from_logits = _checks.flag(from_logits, "from_logits", "AntiPiracy")
        self.value_range = _checks.value_range(value_range, "AntiPiracy")
        if raw_loss is not None and not isinstance(raw_loss, keras.losses.Loss):
            raise TypeError(
                "`raw_loss` of AntiPiracy must be a loss of one-hot labels and answers, such as "
                "`keras_penalties.losses.LogConfusion()`. "
                f"Received: {raw_loss!r} (of type {type(raw_loss).__name__})."
            )
        refuse_unreduced(raw_loss, "raw_loss")
        self.raw_loss = Confusion(from_logits=self.from_logits) if raw_loss is None else raw_loss
        self.processed_loss = CategoricalCrossentropy(from_logits=self.from_logits)
        shape, dtype = input_of(classifier, "classifier", "AntiPiracy")
        x = keras.Input(batch_shape=shape, dtype=dtype, name="raw")
        self.classifier = classifier
        self.transform = _as_model(transform, x)
        processed = self.transform(x)
        answer = classifier(processed)
        self.classes = answer.shape[-1]
        self.authorized = keras.Model(x, answer, name="authorized")
        outputs = {"authorized": answer, "raw": classifier(x), "processed": processed}
        # As one graph, so that on JAX the classifier's second use does not erase the first one's losses.
        self.both = keras.Model(x, outputs, name="both")
        self.build_as_graph()

    def call(self, inputs: Tensors, training: bool | None = None) -> Tensors:
        return self.both(inputs, training=training)

    def compute_output_spec(self, inputs: Tensors, training: bool | None = None) -> Any:
        return self.both.compute_output_spec(inputs)

    def compile(self, optimizer: Any = "adam", **kwargs: Any) -> None:
        """Configure training: as in Keras, without `loss` and `metrics`, which this model defines."""
        given = [name for name in ("loss", "loss_weights", "metrics", "weighted_metrics") if kwargs.get(name)]
        if given:
            raise ValueError(
                f"AntiPiracy.compile takes no {', '.join(f'`{name}`' for name in given)}: it has its own "
                "three terms and two accuracies. Change `alpha`, `beta`, `gamma` or `raw_loss`."
            )
        super().compile(optimizer=optimizer, **kwargs)
        self.show_means_of((*_TERMS, *_ACCURACIES), sometimes=_SOMETIMES)

    def compute_loss(
        self,
        x: Tensors = None,
        y: Tensors = None,
        y_pred: Any = None,
        sample_weight: Tensors = None,
        training: bool | None = True,
    ) -> Tensor:
        x, (y, sample_weight) = ops.convert_to_tensor(x), self._labels(y, sample_weight)

        def loss_of(loss, output):
            return loss(y, y_pred[output], weights_for(sample_weight, y_pred[output]))

        terms = {
            "processed_loss": self.alpha * loss_of(self.processed_loss, "authorized"),
            "raw_loss": self.beta * loss_of(self.raw_loss, "raw"),
        }
        losses = list(terms.values())
        terms = {key: replicas.unscale(value) for key, value in terms.items()}
        if self.gamma:
            change = _numerics.accumulate(y_pred["processed"]) - _numerics.accumulate(x)
            size = _numerics.sum_examples(ops.square(change))
            terms["perturbation_loss"] = self.gamma * _numerics.mean_of_examples(size)
            losses.append(self.scaled(terms["perturbation_loss"]))
        losses.extend(self.scaled(v) for v in self.losses)
        self.show({**terms, **self.unnamed(self.losses)}, x)
        return sum(losses[1:], start=losses[0])

    def compute_metrics(self, x: Tensors, y: Tensors, y_pred: Tensors, sample_weight: Tensors = None) -> dict:
        y, sample_weight = self._labels(y, sample_weight)
        labels = ops.argmax(y, axis=-1)
        for key, name in zip(_ACCURACIES, ("authorized", "raw"), strict=True):
            right = ops.cast(ops.equal(ops.argmax(y_pred[name], axis=-1), labels), "float32")
            keras.metrics.Mean.update_state(self._shown.means[key], right, sample_weight=sample_weight)
        return self.get_metrics_result()

    def _labels(self, y, sample_weight):
        """One-hot labels, and the weights of rows, 0 for those without a label."""
        y = self._one_hot(y)
        return y, weights_of_labelled(class_ids(y), sample_weight)

    def _one_hot(self, y):
        y = ops.convert_to_tensor(y)
        if self.classes > 1 and tuple(y.shape[1:]) == (self.classes,):
            return y
        if any(size not in (1, None) for size in y.shape[1:]):
            raise ValueError(self._about_labels(f"shape {tuple(y.shape)}"))

        def of_classes():
            return ops.one_hot(ops.cast(ops.reshape(y, (-1,)), "int32"), self.classes)

        if self.classes > 1 and tuple(y.shape[1:]) == (None,):  # TensorFlow, after labels of several shapes
            is_one_hot = ops.equal(ops.shape(y)[1], self.classes)
            return ops.cond(is_one_hot, lambda: ops.cast(y, "float32"), of_classes)
        return of_classes()

    def _about_labels(self, received):
        return (
            f"`y` of AntiPiracy.fit must hold classes from 0 to {self.classes - 1}, one per row, or one-hot "
            f"rows. Received: {received}."
        )

    def predict(self, x: Tensors, *args: Any, **kwargs: Any) -> Tensors:
        """The authorized answer: that of the classifier on the transformed input."""
        return self.authorized.predict(x, *args, **kwargs)

    def predict_on_batch(self, x: Tensors) -> Tensors:
        return self.authorized.predict_on_batch(x)

    @property
    def graph(self) -> keras.Model:
        """The authorized model, transform and classifier, which is what `export` writes."""
        return self.authorized

    def check_batch(self, x: Tensors, y: Tensors) -> None:
        labels = np.asarray(y)
        if labels.ndim == 2 and labels.shape[-1] == self.classes and self.classes > 1:
            _checks.unit_interval(labels, "y", "AntiPiracy.fit", "Labels are classes, or one-hot rows.")
        elif labels.size != len(labels) or labels.max() >= self.classes:
            received = f"shape {labels.shape}, from {labels.min()} to {labels.max()}"
            raise ValueError(self._about_labels(received))
        else:
            warn_about_signs(labels, "y", "AntiPiracy.fit")
        outputs = self(x)
        answer = keras.ops.convert_to_numpy(outputs["authorized"])
        if not self.from_logits:
            _checks.unit_interval(answer, "classifier", "AntiPiracy", "For logits, set `from_logits=True`.")
        if self.value_range is not None:
            low, high = self.value_range
            for name, values in (("x", x), ("transform", keras.ops.convert_to_numpy(outputs["processed"]))):
                if np.min(values) < low - 1e-6 or np.max(values) > high + 1e-6:
                    raise ValueError(
                        f"`{name}` of AntiPiracy must stay within value_range={self.value_range}. Received "
                        f"values from {np.min(values):g} to {np.max(values):g}. Scale the inputs, and end "
                        "the transform with a clip to that range."
                    )

    def get_config(self) -> Config:
        serialize = keras.saving.serialize_keras_object
        parts = {k: serialize(getattr(self, k)) for k in ("classifier", "transform", "raw_loss")}
        weights = {k: getattr(self, k) for k in ("alpha", "beta", "gamma", "from_logits", "value_range")}
        return {**super().get_config(), **parts, **weights}

    @classmethod
    def from_config(cls, config: Config, custom_objects: dict | None = None) -> Self:
        parts = ("classifier", "transform", "raw_loss")
        return made(cls, config, *parts, custom_objects=custom_objects)

    def arguments_of_compile(self, config: Config) -> dict:
        return {key: value for key, value in config.items() if value is not None}


def _as_model(transform, x):
    if not isinstance(transform, keras.layers.Layer):
        raise TypeError(
            "`transform` of AntiPiracy must be a layer or a model. "
            f"Received: {transform!r} (of type {type(transform).__name__})."
        )
    processed = transform(x)
    if not isinstance(processed, keras.KerasTensor) or tuple(processed.shape) != tuple(x.shape):
        raise ValueError(
            "`transform` of AntiPiracy must return a tensor of its input's shape. "
            f"It returns {getattr(processed, 'shape', processed)} for {tuple(x.shape)}."
        )
    return transform if isinstance(transform, keras.Model) else keras.Model(x, processed, name="transform")
