"""What each penalty of a model does in one training step, and whether it does anything at all."""

import inspect
import io
import math
import re
import shutil

import keras
import numpy as np
from keras import ops, tree
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from keras_penalties import _plots
from keras_penalties._audit import verdicts
from keras_penalties._audit.step import Step
from keras_penalties.models import HiddenOutputs
from keras_penalties.regularizers._penalty import unchecked


def audit(model: keras.Model, x, y=None, sample_weight=None) -> "Audit":
    """Run one training step, change nothing, and say of each penalty what it does.

    It sees `ActivityPenalty` layers, hidden losses of `HiddenOutputs`, every `activity_regularizer=`, Keras'
    own too, and layers that call `add_loss`, at any depth. Numbers are those of the step that `fit` would
    take: with dropout, and with the strength that this step has. What the step moves is set back.

    Args:
        model: a Keras model, compiled if there is to be a main loss. If it is not built yet, it is built on
            `x`, as `fit` does it.
        x: one batch, as `model.train_on_batch` takes it.
        y: its labels. Without them there is no main loss to compare with.
        sample_weight: its weights.

    Returns:
        An `Audit`. Printed, it is a table, with a sentence for each problem. `records` is a list of one
        dict a penalty: `name` (as in the logs), `at` (where it sits), `way` (how it is attached), `penalty`
        and `formula`, `strength`, `value` (what it adds), `share` (of the loss), `gradient` and
        `main_gradient` (norms at the punished tensors) and their `ratio`, `elements` and `masked`, `uses`
        (in this step), `verdict`, and `why`, a list of sentences, empty where all is well. `problems` are the
        records where it is not. `plot()` draws it.

    The verdicts: *reaches the gradient*; *dropped* (by Keras, a wrapper or a training loop); *counted 2
    times*, or *by part*; *detached* (it moves no trainable weight); *zero*; *not finite*; *drowned* and
    *dominates* (its gradient is less than 1/10,000 of the main loss's at its tensors, or more than 100 times
    that); *out of range* (of values that the penalty does not accept); *counts padding*; *divided twice*;
    *depends on the Keras release*; *differs on JAX*; *per replica*; *target not met*. *Zero for now*, of a
    strength that moves, and *zero on this batch* are no problems.

    Example:

    >>> import keras, numpy as np, keras_penalties as kp
    >>> inputs = keras.Input((2,))
    >>> h = keras.layers.Dense(3, kernel_initializer="ones", name="dense_4")(inputs)
    >>> h = kp.layers.ActivityPenalty(kp.regularizers.L2(0.1), name="quiet")(h)
    >>> model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(h))
    >>> model.compile(loss="mse")
    >>> record = kp.audit(model, np.ones((4, 2), "float32"), np.zeros((4, 1), "float32")).records[0]
    >>> record["name"], record["verdict"], round(record["value"], 4)  # 0.1 * 3 * 2**2
    ('quiet', 'reaches the gradient', 1.2)
    >>> round(record["share"], 4), round(record["ratio"], 4)  # 1.2 of 37.2; 0.2 * 2 against 2 * 6
    (0.0323, 0.0333)

    Raises:
        TypeError: if `model` is not a Keras model, or `x` no batch of arrays.
        ValueError: if `y` or `sample_weight` has not as many rows as `x`, if `x` is a tuple for a model of
            one input, or if `model` has losses that need labels and `y` is missing.
    """
    _check(model, x, y, sample_weight)
    batch = [_tensors(data) for data in (x, y, sample_weight)]
    if not model.built:
        model(batch[0])
    main_loss, model._compile_loss = model._compile_loss, model._compile_loss if y is not None else None
    try:
        with unchecked():
            step = Step(model, batch)
    finally:
        model._compile_loss = main_loss
    own = type(model).compute_loss not in (keras.Model.compute_loss, HiddenOutputs.compute_loss)
    return Audit(model, step, y is not None and (main_loss is not None or own))


def _check(model, x, y, sample_weight):
    if not isinstance(model, keras.Model):
        raise TypeError(f"`model` of audit must be a Keras model. Received: {model!r}.")
    leaves = tree.flatten(x)
    if not leaves or not all(hasattr(leaf, "shape") or np.ndim(leaf) for leaf in leaves):
        raise TypeError(
            "`x` of audit must be one batch as an array, or a list or dict of arrays. "
            f"Received: {type(x).__name__}. Take a batch out of a dataset with `x, y = next(iter(dataset))`."
        )
    one_input = len(tree.flatten(getattr(model, "inputs", None) or [])) == 1
    if one_input and isinstance(x, tuple) and len(x) > 1 and y is None:
        raise ValueError(
            f"`x` of audit must be the inputs alone. Received: a tuple of {len(x)}, for a model with one "
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
        labelled = [term.key for term in model._state.terms if term.loss is not None]
        labelled += ["joint_loss"] if model._state.joint_loss is not None else []
        if labelled:
            raise ValueError(
                f"`y` of audit is missing, and {', '.join(labelled)} of '{model.name}' needs labels."
            )


def _tensors(data):
    return tree.map_structure(lambda a: a if a is None else ops.convert_to_tensor(a), data)


class Audit:
    """What `audit` found: a table when printed.

    Attributes:
        records: one dict a penalty.
        loss: the loss of the step; `main_loss` is the loss without the penalties, or None if there is none.
    """

    def __init__(self, model, step, has_main):
        self._seen, self._rows, self._name = step.seen, step.rows, model.name
        self.loss, self.main_loss = step.total, step.main if has_main else None
        self.records = [_record(seen, model, step.total, has_main) for seen in step.seen]

    @property
    def problems(self) -> list:
        """The records of penalties with which something is wrong."""
        return [record for record in self.records if record["why"]]

    def activations(self) -> dict:
        """The punished activations, without what is masked, as flat arrays by the penalties' names."""
        found = {}
        for seen in self._seen:
            if seen.xs:
                found[seen.owner.name] = np.concatenate(
                    [_kept(*pair) for pair in zip(seen.xs, seen.masks, strict=True)]
                )
        return found

    def plot(self, before=None):
        """Draw what each penalty adds, its gradient beside the main loss's, and the punished activations.

        Args:
            before: an `Audit` of the same layers at another time, or of the model without penalties, whose
                activations are drawn behind.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: if matplotlib is missing.
            TypeError: if `before` is no `Audit`.
        """
        if before is not None and not isinstance(before, Audit):
            raise TypeError(
                "`before` of Audit.plot must be what `audit` returns, or None. "
                f"Received: {before!r} (of type {type(before).__name__})."
            )
        return _plots.plot_audit(self, before)

    def __repr__(self):
        text, table = io.StringIO(), self._table()
        console = Console(file=text, width=10_000, legacy_windows=False)
        whole = Measurement.get(console, console.options, table).maximum
        console.print(table, width=whole)
        said = {}
        for record in self.problems:
            for why in record["why"]:
                said.setdefault(why, []).append(record["at"])
        sentences = [self._summary(), *(f"- {', '.join(places)}: {why}" for why, places in said.items())]
        for sentence in sentences:
            width = max(100, shutil.get_terminal_size((120, 24)).columns)
            console.print(sentence, width=width, markup=False, highlight=False)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())

    def _table(self):
        table = Table(
            title=f"Penalties of '{self._name}'",
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            title_justify="left",
        )
        nested = any(r["at"] != r["name"] for r in self.records)
        texts = ("name", "at", "penalty") if nested else ("name", "penalty")
        for column in texts:
            table.add_column(column, overflow="fold")
        for column in ("strength", "adds", "of loss", "gradient", "elements", "masked"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("verdict", min_width=len(verdicts.FINE), overflow="fold")
        for r in self.records:
            table.add_row(
                *(str(r[key]) for key in texts),
                _short(r["strength"]),
                _short(r["value"]),
                "" if r["share"] is None else f"{r['share']:.1%}",
                "" if r["ratio"] is None else f"{r['ratio']:.2g} x",
                f"{r['elements']:,}",
                f"{r['masked']:,}",
                r["verdict"],
            )
        return table

    def _summary(self):
        main = (
            "no main loss: give `y`, and a compiled model"
            if self.main_loss is None
            else f"main loss {self.main_loss:.4g}"
        )
        return (
            f"Batch of {self._rows}: loss {self.loss:.4g}, {main}. "
            "A gradient is given as a multiple of the main loss's."
        )


def _record(seen, model, total, has_main):
    verdict, why = verdicts.judge(seen, model)
    counted = seen.value * (sum(seen.counts) / len(seen.counts) if seen.counts else 0.0)
    return {
        "name": seen.owner.name,
        "at": seen.owner.at,
        "way": seen.owner.way,
        "penalty": _said(seen.penalty),
        "formula": _formula(seen.penalty),
        "strength": seen.strength,
        "value": seen.value,
        "share": counted / total if has_main and total and math.isfinite(total) else None,
        "gradient": seen.gradient,
        "main_gradient": seen.main_gradient if has_main else None,
        "ratio": verdicts.ratio(seen) if has_main else None,
        "elements": seen.elements,
        "masked": seen.masked,
        "uses": len(seen.counts),
        "verdict": verdict,
        "why": why,
    }


def _said(penalty):
    """A penalty's class, with those of its arguments that are not the default ones, but for the strength."""
    if penalty is None:
        return "add_loss"
    name = getattr(penalty, "__name__", type(penalty).__name__)
    try:
        parameters = inspect.signature(type(penalty).__init__).parameters.items()
    except ValueError:
        return name
    values = [(key, getattr(penalty, key, None), parameter.default) for key, parameter in parameters]
    given = [
        f"{key}={value!r}"
        for key, value, default in values
        if key not in ("self", "strength", "name", "dtype", "reduction")
        and isinstance(value, (bool, int, float, str, tuple))
        and value != default
    ]
    return f"{name}({', '.join(given)})" if given else name


def _formula(penalty):
    """The formula in a class's docstring, in LaTeX."""
    found = re.search(r"\$\$(.+?)\$\$", inspect.getdoc(type(penalty)) or "", re.DOTALL)
    return " ".join(found.group(1).split()) if found else ""


def _kept(x, mask):
    return (x if mask is None else x[mask.astype(bool)]).ravel()


def _short(number):
    return "" if number is None else f"{number:.3g}"
