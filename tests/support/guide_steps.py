"""Training steps that a user has written, on each backend."""

import keras
from keras import ops
from keras.src.backend.common.stateless_scope import StatelessScope

from tests.support.helpers import BACKEND


class CallsSeveral(keras.Model):
    """A model whose step makes some `calls` of its `parts`, and adds up the losses that it reads.

    Args:
        parts: the models that it calls.
        calls: `(place of the part, factor of the input, training, whether losses are read)` of each call.

    The logs show what was read as `read`, in addition to the metrics of the parts.
    """

    def __init__(self, parts, calls):
        super().__init__()
        self.parts, self.calls = list(parts), calls
        self.built = True

    def call(self, x, training=None):
        return self.parts[0](x, training=training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return self.get_metrics_result()

    def train_step(self, *args):
        if BACKEND == "jax":
            return self.step_of_jax(*args)
        (x,) = args
        read = 0.0
        for place, factor, training, reads in self.calls:
            part = self.parts[place]
            part(factor * x, training=training)
            if reads:
                read = read + sum(part.losses)
        return {**self.get_metrics_result(), "read": ops.convert_to_tensor(read, "float32")}

    def step_of_jax(self, state, x):
        import jax

        trainable, others, optimizer, metrics = state

        def loss(trainable, others):
            now = dict(zip(map(id, self.trainable_variables), trainable, strict=True))
            now |= dict(zip(map(id, self.non_trainable_variables), others, strict=True))
            read = 0.0
            for place, factor, training, reads in self.calls:
                part = self.parts[place]
                values = [
                    [now[id(v)] for v in variables]
                    for variables in (part.trainable_variables, part.non_trainable_variables)
                ]
                _, moved, *losses = part.stateless_call(
                    *values, factor * x, training=training, return_losses=reads
                )
                now |= dict(zip(map(id, part.non_trainable_variables), moved, strict=True))
                read = read + sum(losses[0]) if reads else read
            return jax.numpy.asarray(read, "float32"), [now[id(v)] for v in self.non_trainable_variables]

        (read, others), _ = jax.value_and_grad(loss, has_aux=True)(trainable, others)
        with StatelessScope(list(zip(self.metrics_variables, metrics, strict=True))) as scope:
            logs = self.get_metrics_result()
        metrics = [scope.get_current_value(v) for v in self.metrics_variables]
        return {**logs, "read": read}, (trainable, others, optimizer, metrics)


class GuideTensorFlow(keras.Model):
    """https://keras.io/guides/custom_train_step_in_tensorflow"""

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(y=y, y_pred=y_pred)
        trainable_vars = self.trainable_variables
        gradients = tape.gradient(loss, trainable_vars)
        self.optimizer.apply(gradients, trainable_vars)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class GuideTorch(keras.Model):
    """https://keras.io/guides/custom_train_step_in_torch"""

    def train_step(self, data):
        import torch

        x, y = data
        self.zero_grad()
        y_pred = self(x, training=True)
        loss = self.compute_loss(y=y, y_pred=y_pred)
        loss.backward()
        trainable_weights = list(self.trainable_weights)
        gradients = [v.value.grad for v in trainable_weights]
        with torch.no_grad():
            self.optimizer.apply(gradients, trainable_weights)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {m.name: m.result() for m in self.metrics}


class GuideJax(keras.Model):
    """https://keras.io/guides/custom_train_step_in_jax"""

    def compute_loss_and_updates(self, trainable_variables, non_trainable_variables, x, y, training=False):
        y_pred, non_trainable_variables = self.stateless_call(
            trainable_variables, non_trainable_variables, x, training=training
        )
        loss = self.compute_loss(x, y, y_pred)
        return loss, (y_pred, non_trainable_variables)

    def train_step(self, state, data):
        import jax

        trainable_variables, non_trainable_variables, optimizer_variables, metrics_variables = state
        x, y = data
        grad_fn = jax.value_and_grad(self.compute_loss_and_updates, has_aux=True)
        (loss, (y_pred, non_trainable_variables)), grads = grad_fn(
            trainable_variables, non_trainable_variables, x, y, training=True
        )
        trainable_variables, optimizer_variables = self.optimizer.stateless_apply(
            optimizer_variables, grads, trainable_variables
        )
        new_metrics_vars, logs = [], {}
        for metric in self.metrics:
            start = len(new_metrics_vars)
            this_metric_vars = metrics_variables[start : start + len(metric.variables)]
            if metric.name == "loss":
                this_metric_vars = metric.stateless_update_state(this_metric_vars, loss)
            else:
                this_metric_vars = metric.stateless_update_state(this_metric_vars, y, y_pred)
            logs[metric.name] = metric.stateless_result(this_metric_vars)
            new_metrics_vars += this_metric_vars
        return logs, (trainable_variables, non_trainable_variables, optimizer_variables, new_metrics_vars)


Guide = {"tensorflow": GuideTensorFlow, "torch": GuideTorch, "jax": GuideJax}[BACKEND]
