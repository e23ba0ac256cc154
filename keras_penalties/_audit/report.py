"""The result of `audit`: records, a table, a page, and a figure."""

import inspect
import math
import os
import re
from pathlib import Path

import numpy as np

from keras_penalties import _checks
from keras_penalties._audit import figure, html, strength_verdicts, table, verdicts
from keras_penalties._audit.padding import kept
from keras_penalties.models._loss_arguments import FunctionLoss


class Audit:
    """The result of `audit`. Printed, it is a table; in a notebook, a table with a figure.

    Attributes:
        records: one dict per penalty.
        loss: the loss of the step; None if only the model's own `train_step` could compute it.
        main_loss: the loss without the penalties, or None if there is none.
    """

    def __init__(self, model, step, has_main):
        has_main = has_main and step.main is not None
        self._evidence, self._rows = step.evidence, step.rows
        self._title = f"Penalties of '{model.name}'"
        self.loss, self.main_loss = step.total, step.main if has_main else None
        self.records = [_record(evidence, model, step, has_main) for evidence in step.evidence]

    @property
    def problems(self) -> list:
        """The records of penalties that have a problem."""
        return [record for record in self.records if record["why"]]

    def strengths(self, ratio: float = 0.1) -> dict:
        """The strength that gives each penalty a gradient of `ratio` times the main loss's, by name.

        A penalty's gradient is proportional to its strength, and the main loss's gradient contains no
        penalty. So one audit is enough for any number of penalties, at any strength above 0.

        Args:
            ratio: the `ratio` that the records should have, a float > 0.

        Returns:
            A dict from each name in `records` to a strength. For a hidden loss, that is its weight, and for
            `L1L2` the factor on `l1` and `l2`. It is None if no strength can be computed: the gradient is 0
            or unknown, the strength is 0 in this step, or the penalty has none, as those of Keras. If several
            penalties have one name, it is a list, in their order.

        Example:

        >>> import keras, numpy as np, keras_penalties as kp
        >>> def build(small, unlike):
        ...     keras.utils.set_random_seed(0)
        ...     inputs = keras.Input((2,))
        ...     h = keras.layers.Dense(3)(inputs)
        ...     h = kp.layers.ActivityPenalty(kp.regularizers.L2(small), name="small")(h)
        ...     h = kp.layers.ActivityPenalty(kp.regularizers.DeCov(unlike), name="unlike")(h)
        ...     model = keras.Model(inputs, keras.layers.Dense(1)(h))
        ...     model.compile(loss="mse")
        ...     return model
        >>> x = np.random.default_rng(0).normal(size=(16, 2)).astype("float32")
        >>> strengths = kp.audit(build(1.0, 1.0), x, x[:, :1]).strengths(ratio=0.1)
        >>> audit = kp.audit(build(**strengths), x, x[:, :1])
        >>> [(record["name"], round(record["ratio"], 3)) for record in audit.records]
        [('small', 0.1), ('unlike', 0.1)]

        Raises:
            TypeError: if `ratio` is not a number.
            ValueError: if `ratio` is not finite and above 0, or the audit has no main loss.
        """
        ratio = _checks.number(ratio, "ratio", "Audit.strengths", above=0.0)
        if self.main_loss is None:
            raise ValueError(
                "Audit.strengths compares gradients with the main loss's, but there is no main loss. Compile "
                "the model with a loss, and pass `y` to `audit`."
            )
        found = {}
        for record in self.records:
            found.setdefault(record["name"], []).append(_strength_at(ratio, record))
        return {name: each if len(each) > 1 else each[0] for name, each in found.items()}

    def activations(self) -> dict:
        """The penalized activations without masked elements: flat arrays, by name of the penalty."""
        return {
            evidence.source.name: np.concatenate(
                [
                    kept(x, mask, evidence.axis).ravel()
                    for x, mask in zip(evidence.xs, evidence.masks, strict=True)
                ]
            )
            for evidence in self._evidence
            if evidence.xs
        }

    def plot(self, before=None):
        """Draw what each penalty adds, its gradient compared with the main loss's, and the activations.

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
        return figure.plot_audit(self, before)

    def to_html(self, path: str | os.PathLike | None = None) -> str | None:
        """The audit as an HTML page: the table, a sentence for each problem, and, with matplotlib, a figure.

        The page loads nothing: it can be mailed, archived, or kept with the files of a training.

        Args:
            path: the file to write, in UTF-8. Defaults to None: return the page.

        Returns:
            The page as a string, or None if it was written to `path`.

        Example:

        >>> import keras, numpy as np, keras_penalties as kp
        >>> penalty = kp.regularizers.L2(0.1)
        >>> hidden = keras.layers.Dense(3, activity_regularizer=penalty, name="quiet")
        >>> model = keras.Sequential([keras.Input((2,)), hidden])
        >>> audit = kp.audit(model, np.ones((4, 2), "float32"))
        >>> "<td>quiet</td>" in audit.to_html()
        True
        """
        text = html.page(self._title, self._repr_html_())
        if path is None:
            return text
        Path(path).write_text(text, encoding="utf-8")
        return None

    def __repr__(self):
        sentences = [self._summary(), *(f"- {sentence}" for sentence in self._sentences())]
        return table.as_text(self._title, self.records, sentences)

    def _repr_html_(self):
        """The HTML that a notebook shows."""
        png = figure.png_of(self)
        return html.fragment(self._title, self.records, self._summary(), self._sentences(), png)

    def _sentences(self):
        """A sentence for each problem, after the places that have it."""
        if not self.records:
            return [
                "The model has no penalty and no hidden loss. Losses of outputs are the main loss: to "
                "compare one with the rest, compile it as a hidden loss of "
                "`keras_penalties.models.HiddenOutputs`."
            ]
        places = {}
        for record in self.problems:
            for why in record["why"]:
                places.setdefault(why, []).append(record["at"])
        return [f"{', '.join(at)}: {why}" for why, at in places.items()]

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


def _strength_at(ratio, record):
    """The strength at which a record would have this ratio, or None."""
    if not record["strength"] or not record["ratio"]:
        return None
    strength = ratio * record["strength"] / record["ratio"]
    return strength if math.isfinite(strength) else None


def _described(penalty):
    """The class of a penalty, with the arguments that differ from their defaults, without the strength."""
    if penalty is None:
        return "add_loss"
    if isinstance(penalty, FunctionLoss):
        return penalty.name
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
