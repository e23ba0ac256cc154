"""Record a forward pass, so that its tensors can be differentiated with respect to each other."""

import contextlib
import functools
import threading
from collections.abc import Callable
from typing import Any

import keras
from keras import ops, tree

from keras_penalties._keras import private, scopes, trainers
from keras_penalties._keras.masks import get_keras_mask, set_keras_mask

_local = threading.local()


def recording(model) -> Any:
    """A recording of one forward pass of `model`, which is about to begin."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _OnTape()
    return _Repeatable(model) if backend == "jax" else _OnGraph()


class _OnTape:
    """TensorFlow: a tape inside the tape of the training step."""

    # `tf.nn.moments`, from which Keras' normalization layers get their statistics, stops the gradient of the
    # mean in the variance. That changes no first derivative, but second ones: a gradient penalty would train
    # differently than on other backends (keras/src/backend/tensorflow/nn.py).

    def __init__(self):
        import tensorflow as tf

        self.tape = tf.GradientTape(persistent=True)

    @contextlib.contextmanager
    def open(self):
        """A context that records."""
        _exact_moments()
        before, _local.is_recorded = getattr(_local, "is_recorded", False), True
        try:
            with self.tape:
                yield
        finally:
            _local.is_recorded = before

    def marked(self, x, shift=None):
        """`x`, with respect to which derivatives will be taken: the pass continues with the result."""
        self.tape.watch(x)
        return x

    def begin(self, forward) -> None:
        """Called when the pass has run."""

    def slopes(self, forward, of: str, wrt: str, target: Callable, scalars: Callable, is_used: bool) -> list:
        """The derivatives of scalars with respect to a tensor of the pass; None for a scalar that has none.

        Args:
            forward: the pass.
            of: the key of the tensor that the scalars are computed from.
            wrt: the key of the other tensor.
            target: a function that returns the tensor `of` of a pass.
            scalars: a function that computes a list of scalars from it.
            is_used: whether the derivatives will be differentiated by this recording.
        """
        import tensorflow as tf

        x = forward.tensors[wrt]
        with self.tape:
            values = scalars(target(forward))
        with self.tape if is_used else contextlib.nullcontext():
            found = [self.tape.gradient(value, x) for value in values]
        return [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in found]


@functools.cache
def _exact_moments():
    """Make Keras compute moments in a recorded pass so that they can be differentiated twice."""
    import tensorflow as tf

    module = private.find("keras.src.backend.tensorflow.nn")
    of_keras = private.of(module, "_compute_moments")

    def moments(x, axes, keepdims):
        if not getattr(_local, "is_recorded", False):
            return of_keras(x, axes, keepdims)
        mean = tf.reduce_mean(x, axes, keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(x, mean), axes, keepdims=keepdims)
        return (mean if keepdims else tf.squeeze(mean, axes)), variance

    private.put(module, "_compute_moments", moments)


class _OnGraph:
    """PyTorch: the graph that it keeps, also in `evaluate`, which runs without gradients."""

    def __init__(self):
        import torch

        self.is_trained = torch.is_grad_enabled()
        self.is_open = self.is_trained or trainers.caller() == "step"

    @contextlib.contextmanager
    def open(self):
        import torch

        if not self.is_open:
            yield
            return
        # The other kernels of attention have no second derivative.
        attention = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
        with torch.enable_grad(), attention:
            yield

    def marked(self, x, shift=None):
        # A view: a tensor of the user must not get a `.grad`.
        return x if x.requires_grad or not self.is_open else x.detach().requires_grad_()

    def begin(self, forward) -> None:
        pass

    def slopes(self, forward, of: str, wrt: str, target: Callable, scalars: Callable, is_used: bool) -> list:
        import torch

        if not self.is_open:
            raise ValueError(
                "PyTorch recorded no gradients when the model was called. Call it outside of "
                "`torch.no_grad()`, or in `evaluate`."
            )
        x = forward.tensors[wrt]
        with self.open():
            values, found = scalars(target(forward)), []
            for value in values:
                if not (value.requires_grad and x.requires_grad):
                    found.append(None)
                    continue
                (slope,) = torch.autograd.grad(
                    value, x, retain_graph=True, create_graph=self.is_trained or is_used, allow_unused=True
                )
                found.append(slope)
        return found


class _Repeatable:
    """JAX: a pass that is repeated as a function of shifts, which are added to tensors, from the same state.

    The first pass adds to the loss what layers add. All else comes from the second: outputs, hidden tensors,
    and the new values of variables. So the loss has one path to the weights, and the compiler removes what is
    left of the first pass.
    """

    def __init__(self, model):
        self._pull: Any = None
        scope = scopes.stateless_scope()
        if scope is not None:
            self._state = dict(scope.state_mapping)
        else:
            self._state = {id(variable): variable.value for variable in model.variables}

    def open(self) -> Any:
        return contextlib.nullcontext()

    def marked(self, x, shift=None):
        return x if shift is None else x + shift

    def begin(self, forward) -> None:
        self._pull, repeated, state = self._differentiated(forward)
        forward.outputs, forward.tensors = repeated
        scope = scopes.stateless_scope()
        if scope is not None:
            scope.state_mapping.update(state)

    def _differentiated(self, forward):
        """A function that takes gradients with respect to the targets and returns those with respect to the
        other tensors; the outputs and tensors of the pass; and the values of variables that changed."""
        import jax

        def run(shifts):
            again, state = self._again(forward, shifts)
            tensors = {key: x for key, x in again.tensors.items() if key in forward.capture.targets}
            masks = tree.map_structure(get_keras_mask, again.outputs)
            changed = {key: x for key, x in state.items() if x is not self._state.get(key)}
            return tensors, (again.outputs, masks, again.tensors, changed)

        zeros = {key: ops.zeros_like(forward.tensors[key]) for key in forward.capture.differentiated}
        _, pull, (outputs, masks, captured, state) = jax.vjp(run, zeros, has_aux=True)
        for x, mask in zip(tree.flatten(outputs), tree.flatten(masks), strict=True):
            if mask is not None:
                set_keras_mask(x, mask)
        return pull, (outputs, captured), state

    def _again(self, forward, shifts: dict):
        """The pass with shifts, and the values of variables after it."""
        with scopes.repeated(self._state) as scope:
            return _outermost(lambda: forward.repeated(shifts)), scope.state_mapping

    def slopes(self, forward, of: str, wrt: str, target: Callable, scalars: Callable, is_used: bool) -> list:
        parts = self._of_captured if of in forward.tensors else self._of_derived
        values, pull = parts(forward, of, wrt, target, scalars)
        found = []
        for i in range(len(values)):
            one = [ops.ones_like(v) if i == j else ops.zeros_like(v) for j, v in enumerate(values)]
            found.append(pull(one) if _depends(pull, one, i) else None)
        return found

    def _of_captured(self, forward, of, wrt, target, scalars):
        """The scalars, and a function from their gradients to that of `wrt`, for a captured tensor."""
        import jax

        if self._pull is None:
            self._pull, *_ = self._differentiated(forward)
        of_tensors = self._pull
        others = {key: ops.zeros_like(forward.tensors[key]) for key in forward.capture.targets if key != of}
        values, of_target = jax.vjp(scalars, forward.tensors[of])
        return values, lambda slopes: of_tensors({of: of_target(slopes)[0], **others})[0][wrt]

    def _of_derived(self, forward, of, wrt, target, scalars):
        """The same for a tensor that is a gradient itself."""
        import jax

        def shifted(shift):
            return scalars(target(self._again(forward, {wrt: shift})[0]))

        values, of_shift = jax.vjp(shifted, ops.zeros_like(forward.tensors[wrt]))
        return values, lambda slopes: of_shift(slopes)[0]


def _depends(pull, slopes, i) -> bool:
    """Whether the gradient that `pull` computes depends on the one at index `i`; otherwise it is zero."""
    import jax

    program = jax.make_jaxpr(pull)(slopes).jaxpr
    used = private.find("jax.interpreters.partial_eval.dce_jaxpr")(program, [True])[1]
    return used[i]


class _Call(keras.layers.Layer):
    """Calls a function, so that no layer in it is the outermost one, at which Keras forgets losses."""

    def call(self, *, function):
        self.result = function()


def _outermost(function):
    layer = _Call()
    layer.built = True
    layer(function=function)
    return layer.result
