"""`audit`: run one training step, and report what each penalty does."""

import contextlib

import keras
import numpy as np
from keras import ops, tree

from keras_penalties._audit.report import Audit
from keras_penalties._audit.step import Step
from keras_penalties._keras import replicas, steps
from keras_penalties._types import Tensors
from keras_penalties._value_checks import unchecked
from keras_penalties.models import HiddenOutputs


def audit(model: keras.Model, x: Tensors, y: Tensors = None, sample_weight: Tensors = None) -> "Audit":
    """Run one training step, change nothing, and report what each penalty does.

    It covers `ActivityPenalty` layers, hidden losses of `HiddenOutputs`, every `activity_regularizer=`,
    including Keras' own, and layers that call `add_loss`, at any depth. The numbers are those of the step
    that `fit` would take, with dropout and the current strengths. Everything that the step changes is
    restored: variables, metrics, values for the logs, attributes of layers, random generators.

    Your own `train_step` is run too, once and in Python, and the verdicts say what its gradient contains.
    What it prints or writes elsewhere cannot be undone.

    Args:
        model: a Keras model, compiled if you want a main loss. If it is not built yet, it is built on `x`,
            as in `fit`.
        x: the inputs of one batch, as for `model.train_on_batch`.
        y: the labels. Without them there is no main loss to compare with.
        sample_weight: the weights of the examples.

    Returns:
        An `Audit`. Printed, it is a table, with a sentence for each problem; in a notebook it also has a
        figure. `records` is a list of one dict per penalty: `name` (as in the logs), `at` (where it is),
        `way` (how it is attached), `penalty` and `formula`, `strength`, `value` (what it adds), `measure`
        (the same without the strength), `share` (of the loss), `gradient` and `main_gradient` (norms at the
        penalized tensors) and their `ratio`, `elements` and `masked`, `uses` (in this step), `verdict`, and
        `why`, a list with a sentence for each problem. `problems` has the records with a problem. `plot()`
        draws the audit, and `to_html()` writes it as a page.

    The verdicts: *reaches the gradient*; *dropped* (by Keras, a wrapper or a training step); *own
    train_step: not checked*; *counted 2 times*, or *by part*; *training not passed on*; *detached* (it moves
    no trainable weight); *zero*; *not finite*; *gradient not finite*; *out of range* (of values that the
    penalty does not accept); *drowned* and *dominates* (its gradient is less than 1/10,000 of the main loss's
    at its tensors, or more than 100 times that); *counts padding*; *divided twice*; *depends on the Keras
    release*; *differs on JAX*; *per replica*; *target not met*. *Zero for now* (a strength that changes),
    *not there yet* (one that still moves towards its target) and *zero on this batch* are not problems.

    Example:

    >>> import keras, numpy as np, keras_penalties as kp
    >>> inputs = keras.Input((2,))
    >>> h = keras.layers.Dense(3, kernel_initializer="ones", name="dense_4")(inputs)
    >>> h = kp.layers.ActivityPenalty(kp.regularizers.L2(0.1), name="quiet")(h)
    >>> model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(h))
    >>> model.compile(loss="mse")
    >>> x, y = np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")
    >>> record = kp.audit(model, x, y).records[0]
    >>> record["name"], record["verdict"], round(record["value"], 4)  # 0.1 * 3 * 2**2
    ('quiet', 'reaches the gradient', 1.2)
    >>> # 1.2 of 37.2; 0.2 * 2 against 2 * 6
    >>> round(record["share"], 4), round(record["ratio"], 4)
    (0.0323, 0.0333)

    Raises:
        TypeError: if `model` is not a Keras model, or `x` is not a batch of arrays.
        ValueError: if `y` or `sample_weight` does not have as many rows as `x`, if `x` is a tuple
            for a model of one input, or if `model` has losses that need labels and `y` is missing.
    """
    _check(model, x, y, sample_weight)
    if not model.built:
        _build(model, x)
    own = type(model).compute_loss not in (keras.Model.compute_loss, HiddenOutputs.compute_loss)
    has_main = y is not None and (own or steps.compiled_loss(model) is not None)
    compiled = contextlib.nullcontext() if y is not None else steps.without_compiled_loss(model)
    with unchecked(), compiled, replicas.alone():
        step = Step(model, lambda: [_tensors(data) for data in (x, y, sample_weight)])
    return Audit(model, step, has_main)


def _build(model, x):
    try:
        model(_tensors(x))
    except NotImplementedError:  # a model needs no `call` if its `train_step` only calls its parts
        if not steps.own_step(model):
            raise


def _check(model, x, y, sample_weight):
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` of audit must be a Keras model. Received: {model!r}.")
    leaves = tree.flatten(x)
    if not leaves or not all(hasattr(leaf, "shape") or np.ndim(leaf) for leaf in leaves):
        raise TypeError(
            "`x` of audit must be one batch as an array, or a list or dict of arrays. "
            f"Received: {type(x).__name__}. Get a batch from a dataset with `x, y = next(iter(dataset))`."
        )
    one_input = len(tree.flatten(getattr(model, "inputs", None) or [])) == 1
    if one_input and isinstance(x, tuple) and len(x) > 1 and y is None:
        raise ValueError(
            f"`x` of audit must be only the inputs. Received: a tuple of {len(x)}, for a model with one "
            "input. If they are inputs and labels, write `audit(model, *batch)`."
        )
    rows = len(leaves[0])
    for argument, data in (("x", x), ("y", y), ("sample_weight", sample_weight)):
        for leaf in tree.flatten(data):
            if leaf is not None and (np.ndim(leaf) == 0 or len(leaf) != rows):
                raise ValueError(
                    f"`{argument}` of audit must have {rows} rows, as `x` has. "
                    f"Received: {argument} of shape {tuple(np.shape(leaf))}."
                )
    if isinstance(model, HiddenOutputs) and y is None:
        labelled = [term.key for term in model.terms if term.loss is not None]
        labelled += ["joint_loss"] if model.joint_loss is not None else []
        if labelled:
            raise ValueError(
                f"`y` of audit is missing, but {', '.join(labelled)} of '{model.name}' needs labels."
            )


def _tensors(data):
    """Copies of arrays as tensors, with floats in the dtype that `fit` passes to a model."""
    return tree.map_structure(_tensor, data)


def _tensor(array):
    if array is None:
        return None
    tensor = ops.convert_to_tensor(array)
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    if "float" in dtype and dtype != keras.config.floatx():
        return ops.cast(tensor, keras.config.floatx())
    return tensor if dtype == "string" else ops.copy(tensor)
