"""The table of an audit: its columns and cells, and the text that `print` shows."""

import io
import re
import shutil
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from keras_penalties._audit import verdicts


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        title: its heading.
        cells: a text per penalty.
        is_number: whether the texts are numbers.
    """

    title: str
    cells: list[str]
    is_number: bool = False


def columns(records) -> list[Column]:
    """The columns for the records of an audit, without those that say nothing. The last has the verdicts."""
    is_shown = {
        "at": any(not r["name"].startswith(re.sub("[/:]", "_", r["at"])) for r in records),
        "masked": any(r["masked"] for r in records),
    }
    found = [
        *(Column(key, [str(r[key]) for r in records]) for key in ("name", "at", "penalty")),
        Column("strength", [_short(r["strength"]) for r in records], True),
        Column("adds", [_short(r["value"]) for r in records], True),
        Column("of loss", ["" if r["share"] is None else f"{r['share']:.1%}" for r in records], True),
        Column("gradient", ["" if r["ratio"] is None else f"{r['ratio']:.2g} x" for r in records], True),
        *(Column(key, [f"{r[key]:,}" for r in records], True) for key in ("elements", "masked")),
        Column("verdict", [r["verdict"] for r in records]),
    ]
    return [column for column in found if is_shown.get(column.title, True)]


def as_text(title, records, sentences) -> str:
    """The table for a terminal, never cut or wrapped, with the sentences below it."""
    text, found = io.StringIO(), columns(records)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in found:
        if column.is_number:
            table.add_column(column.title, justify="right", no_wrap=True)
        else:
            least = len(verdicts.FINE) if column.title == "verdict" else None
            table.add_column(column.title, overflow="fold", min_width=least)
    for cells in zip(*(column.cells for column in found), strict=True):
        table.add_row(*cells)
    # In a notebook rich would show the table itself, not write it to `text`; FORCE_COLOR would add codes.
    console = Console(
        file=text, width=10_000, legacy_windows=False, force_jupyter=False, force_terminal=False
    )
    if records:
        console.print(table, width=Measurement.get(console, console.options, table).maximum)
    else:
        console.print(title, markup=False)
    for sentence in sentences:
        width = max(100, shutil.get_terminal_size((120, 24)).columns)
        console.print(sentence, width=width, markup=False, highlight=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _short(number):
    return "" if number is None else f"{number:.3g}"
