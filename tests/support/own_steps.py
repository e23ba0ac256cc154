"""Models with a `train_step` of their own, as Keras' guides write it for each backend."""

import keras
from keras import ops

BACKEND = keras.backend.backend()


class Modes:
    """`mode` says how often the loss holds the penalties: `"drop"`, `"keep"` (once) or `"twice"`; `passes`
    how often a step runs the model, `compiles` whether it compiles what it does by itself."""

    mode, passes, compiles = "keep", 1, False

    def own_loss(self, y, y_pred, losses):
        times = {"drop": 0, "keep": 1, "twice": 2}[self.mode]
        loss = ops.mean(ops.square(ops.cast(y_pred, "float32") - y))
        return loss + times * sum(ops.sum(v) for v in losses) if times else loss

    def run(self, x):
        """What a training step computes from `x`; without `call`, by the parts of the model alone."""
        return self(x, training=True)


class StepOnTensorFlow(Modes):
    def train_step(self, data):
        import tensorflow as tf

        if not self.compiles:
            return self.step(*data)
        if not hasattr(self, "compiled_step"):
            self.compiled_step = tf.function(self.step)
        return self.compiled_step(*data)

    def step(self, x, y):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss = sum(self.own_loss(y, self.run(x), self.losses) for _ in range(self.passes))
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}


class StepOnTorch(Modes):
    def train_step(self, data):
        import torch

        x, y = data
        self.zero_grad()
        loss = sum(self.own_loss(y, self.run(x), self.losses) for _ in range(self.passes))
        self.optimizer.scale_loss(loss).backward()
        weights = list(self.trainable_weights)
        with torch.no_grad():
            self.optimizer.apply([v.value.grad for v in weights], weights)
        return {"loss": loss}


class StepOnJAX(Modes):
    def compute_own_loss(self, trainable, others, optimizer, x, y):
        variables = [*self.trainable_variables, *self.non_trainable_variables, *self.optimizer.variables]
        values = [*trainable, *others, *optimizer]
        losses = []
        with keras.StatelessScope(list(zip(variables, values, strict=True)), collect_losses=True) as scope:
            loss = 0.0
            for _ in range(self.passes):
                y_pred = self.run(x)
                new = [v for v in self.losses if not any(v is old for old in losses)]
                losses += new
                loss = loss + self.own_loss(y, y_pred, new)
            scaled = self.optimizer.scale_loss(loss)
        others = [scope.get_current_value(v) for v in self.non_trainable_variables]
        return scaled, (loss, others)

    def train_step(self, state, data):
        import jax

        trainable, others, optimizer, metrics = state
        gradient = jax.value_and_grad(self.compute_own_loss, has_aux=True)
        if self.compiles:
            if not hasattr(self, "compiled_gradient"):
                self.compiled_gradient = jax.jit(gradient)
            gradient = self.compiled_gradient
        (_, (loss, others)), slopes = gradient(trainable, others, optimizer, *data)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, slopes, trainable)
        return {"loss": loss}, (trainable, others, optimizer, metrics)


StepOnBackend = {"tensorflow": StepOnTensorFlow, "torch": StepOnTorch, "jax": StepOnJAX}[BACKEND]


class OwnStep(StepOnBackend, keras.Model):
    """A model to be made of inputs and outputs: Keras changes the class of one that is."""
