"""What Keras' `Trainer` is doing, and which names it shows. Keras does not tell this to a layer, so the code
here inspects the call stack."""

import functools
import inspect
import sys
from typing import Any

import keras

from keras_penalties._keras import layers, private, replicas, steps

MetricsList = private.find("keras.src.trainers.compile_utils.MetricsList")
Trainer = private.find("keras.src.trainers.trainer.Trainer")


class Monitored(MetricsList):
    """A metric whose direction `EarlyStopping(mode="auto")` and other callbacks find: they search only lists
    of metrics (keras/src/callbacks/monitor_callback.py). So this is the list of itself."""

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
    return {id(inspect.unwrap(method).__code__) for method in own}


@functools.cache
def _callbacks():
    methods = (value for name, value in vars(keras.callbacks.CallbackList).items() if name.startswith("on_"))
    return {id(inspect.unwrap(method).__code__) for method in methods}


def caller() -> str:
    """What runs the code: a `"step"` of Keras, a `"callback"` between two steps, or the user's `"own"`
    loop."""
    if replicas.are_threads():
        return "step"  # TensorFlow's replicas are threads, which do not show who started them
    frame = sys._getframe(1)
    while frame is not None:
        code = id(frame.f_code)  # code from `torch.compile` may have no hash
        if code in _steps():
            return "step"
        if code in _callbacks():
            return "callback"
        frame = frame.f_back
    return "own"


class Gathering:
    """How Keras collects the metrics of a model, seen from the property `metrics` of one of its layers.

    Attributes:
        model: the model that collects them and asks the layer itself, or None.
        before: the metrics that it has collected before.
        again: whether the model is collecting the metrics of a layer or model around this one. It also asks
            this one directly, and would list its metrics twice.
    """

    def __init__(self, depth):
        """`depth` is the number of frames from the caller up to the property of the layer."""
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
    """The names in the logs of `model`, except those of metrics of class `ours`."""
    names = {"loss", *getattr(model, "log_keys", ())}
    metrics = [*private.of(model, "_metrics")]
    if steps.compiled_loss(model) is not None:
        metrics += steps.compiled_loss(model).metrics
    compiled = private.of(model, "_compile_metrics")
    if compiled is not None and compiled.built:
        groups = private.of(compiled, "_flat_metrics"), private.of(compiled, "_flat_weighted_metrics")
        for group in filter(None, (*groups[0], *groups[1])):
            prefix = f"{group.output_name}_" if group.output_name else ""
            names |= {f"{prefix}{end}{m.name}" for m in group.metrics for end in ("", "weighted_")}
    for layer in layers.all_sublayers(model):
        metrics += [] if isinstance(layer, Trainer) else private.of(layer, "_metrics")
    return names | {metric.name for metric in metrics if not isinstance(metric, ours)}
