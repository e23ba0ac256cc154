"""The result of `audit`: a table, records, and a figure."""

import inspect
import io
import math
import re
import shutil

import numpy as np
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from keras_penalties import _plots
from keras_penalties._audit import strength_verdicts, verdicts


class Audit:
    """The result of `audit`. Printed, it is a table.

    Attributes:
        records: one dict per penalty.
        loss: the loss of the step; None if only the model's own `train_step` could compute it.
        main_loss: the loss without the penalties, or None if there is none.
    """

    def __init__(self, model, step, has_main):
        has_main = has_main and step.main is not None
        self._evidence, self._rows, self._name = step.evidence, step.rows, model.name
        self.loss, self.main_loss = step.total, step.main if has_main else None
        self.records = [_record(evidence, model, step, has_main) for evidence in step.evidence]

    @property
    def problems(self) -> list:
        """The records of penalties that have a problem."""
        return [record for record in self.records if record["why"]]

    def activations(self) -> dict:
        """The penalized activations without masked elements: flat arrays, by name of the penalty."""
        return {
            evidence.source.name: np.concatenate(
                [_counted(*pair) for pair in zip(evidence.xs, evidence.masks, strict=True)]
            )
            for evidence in self._evidence
            if evidence.xs
        }

    def plot(self, before=None):
        """Draw what each penalty adds, its gradient against the main loss's, and the penalized activations.

        Args:
            before: an `Audit` of the same layers at another time, or of the model without penalties. Its
                activations are drawn in the background.

        Returns:
            A `matplotlib.figure.Figure`.

        Raises:
            ImportError: if matplotlib is missing.
            TypeError: if `before` is not an `Audit`.
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
        places = {}
        for record in self.problems:
            for why in record["why"]:
                places.setdefault(why, []).append(record["at"])
        sentences = [self._summary(), *(f"- {', '.join(at)}: {why}" for why, at in places.items())]
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
        if self.loss is None:
            return f"Batch of {self._rows}: only the model's own training step knows the loss."
        main = (
            "no main loss: pass `y`, and compile the model"
            if self.main_loss is None
            else f"main loss {self.main_loss:.4g}"
        )
        return (
            f"Batch of {self._rows}: loss {self.loss:.4g}, {main}. "
            "Gradients are shown as multiples of the main loss's."
        )


def _record(evidence, model, step, has_main):
    verdict, why = verdicts.verdict_on(evidence, model, step)
    counts, total = evidence.counts, step.total
    counted = evidence.value * (sum(counts) / len(counts) if counts else 0.0)
    return {
        "name": evidence.source.name,
        "at": evidence.source.at,
        "way": evidence.source.way,
        "penalty": _described(evidence.penalty),
        "formula": _formula(evidence.penalty),
        "strength": evidence.strength,
        "value": evidence.value,
        "measure": strength_verdicts.measured(evidence),
        "share": counted / total if has_main and total and math.isfinite(total) else None,
        "gradient": evidence.gradient,
        "main_gradient": evidence.main_gradient if has_main else None,
        "ratio": evidence.ratio if has_main else None,
        "elements": evidence.elements,
        "masked": evidence.masked,
        "uses": len(counts),
        "verdict": verdict,
        "why": why,
    }


def _described(penalty):
    """The class of a penalty, with the arguments that differ from their defaults, without the strength."""
    if penalty is None:
        return "add_loss"
    name = getattr(penalty, "__name__", type(penalty).__name__)
    try:
        parameters = inspect.signature(type(penalty).__init__).parameters.items()
    except ValueError:
        return name
    arguments = []
    for key, parameter in parameters:
        value = getattr(penalty, key, None)
        shown = isinstance(value, (bool, int, float, str, tuple)) and value != parameter.default
        if shown and key not in ("self", "strength", "name", "dtype", "reduction"):
            arguments.append(f"{key}={value!r}")
    return f"{name}({', '.join(arguments)})" if arguments else name


def _formula(penalty):
    """The formula in a class's docstring, in LaTeX."""
    found = re.search(r"\$\$(.+?)\$\$", inspect.getdoc(type(penalty)) or "", re.DOTALL)
    return " ".join(found.group(1).split()) if found else ""


def _counted(x, mask):
    return (x if mask is None else x[mask.astype(bool)]).ravel()


def _short(number):
    return "" if number is None else f"{number:.3g}"
