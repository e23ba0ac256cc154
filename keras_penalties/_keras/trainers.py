"""What Keras' `Trainer` does just now, and which names it shows. A layer is told neither: it has to look."""

import functools
import inspect
import sys
from typing import Any

import keras
from keras.src.callbacks.callback_list import CallbackList
from keras.src.trainers.compile_utils import MetricsList
from keras.src.trainers.trainer import Trainer

from keras_penalties._keras import replicas


class Monitored(MetricsList):
    """A metric whose direction `EarlyStopping(mode="auto")` and the like find: they look for it in lists of
    metrics alone (keras/src/callbacks/monitor_callback.py). So this is the list of itself."""

    output_name = None

    def __init__(self, dtype=None, name=None):
        keras.metrics.Metric.__init__(self, dtype=dtype, name=name)

    @property
    def metrics(self):
        return [self]


@functools.cache
def _steps():
    methods = (Trainer.evaluate, Trainer.fit, Trainer.train_on_batch, Trainer.test_on_batch)
    own = (getattr(keras.Model, method.__name__) for method in methods)
    return {inspect.unwrap(method).__code__ for method in own}


@functools.cache
def _callbacks():
    methods = (value for name, value in vars(CallbackList).items() if name.startswith("on_"))
    return {inspect.unwrap(method).__code__ for method in methods}


def caller() -> str:
    """Who runs the code: a `"step"` of Keras, a `"callback"` between two, or the user's `"own"` loop."""
    if replicas.replicas() > 1:
        return "step"  # TensorFlow's replicas are threads, which do not show who started them
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code in _steps():
            return "step"
        if frame.f_code in _callbacks():
            return "callback"
        frame = frame.f_back
    return "own"


class Gathering:
    """How Keras collects the metrics of a model, seen from the property `metrics` of one of its layers.

    Attributes:
        model: the model that collects them and asks the layer itself, or None.
        before: the metrics that it has collected before.
        again: whether the model collects those of a layer or model around this one. It asks this one by
            itself too, and would list its metrics twice.
    """

    def __init__(self, depth):
        """`depth` says how many frames above the caller the property of the layer is."""
        frame: Any = sys._getframe(depth + 2)
        asks: Any = frame
        collects = None
        while frame.f_code.co_name == "metrics":  # of layers and models around it
            if frame.f_code is Trainer.metrics.fget.__code__:
                collects = frame
            frame = frame.f_back
        self.again = collects is not None and collects is not asks
        found = asks.f_locals if collects is asks else {}
        self.model, self.before = found.get("self"), found.get("metrics", [])


def shown_names(model, ours) -> set:
    """The names that the logs of `model` use for what is no metric of class `ours`."""
    names = {"loss", *getattr(model, "log_keys", ())}
    metrics = [*model._metrics]
    if model._compile_loss is not None:
        metrics += model._compile_loss.metrics
    compiled = model._compile_metrics
    if compiled is not None and compiled.built:
        for group in filter(None, (*compiled._flat_metrics, *compiled._flat_weighted_metrics)):
            prefix = f"{group.output_name}_" if group.output_name else ""
            names |= {f"{prefix}{end}{m.name}" for m in group.metrics for end in ("", "weighted_")}
    for layer in model._flatten_layers(include_self=False):
        metrics += [] if isinstance(layer, Trainer) else layer._metrics
    return names | {metric.name for metric in metrics if not isinstance(metric, ours)}
