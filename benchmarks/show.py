"""Tables and records of the parts: each prints its own, and leaves what it measured where it is asked to."""

import importlib.metadata
import json
import math
import os
from pathlib import Path

from rich.console import Console
from rich.table import Table

CONSOLE = Console(width=200)
RECORD = "BENCHMARK_RECORD"


def part(measure, tables):
    """Measure, print the tables, and write the record to the file that `BENCHMARK_RECORD` names."""
    record = measure()
    if RECORD in os.environ:
        Path(os.environ[RECORD]).write_text(json.dumps(record, indent=1))
    show(tables(record))


def show(tables):
    for title, head, rows in tables:
        table = Table(title=title, title_justify="left")
        for i, column in enumerate(head):
            table.add_column(column, justify="right" if i else "left")
        for row in rows:
            table.add_row(*row)
        CONSOLE.print(table)


def markdown(tables):
    for title, head, rows in tables:
        yield f"*{title}*\n"
        yield "| " + " | ".join(head) + " |\n|" + "---|" * len(head)
        yield from ("| " + " | ".join(row) + " |" for row in rows)
        yield ""


def number(value):
    if value is None or math.isnan(value):
        return ""
    if 0 < value < 0.005:
        return "<0.01"
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def backend():
    """The backend of Keras with its version, and Keras'."""
    import keras

    name = keras.backend.backend()
    return f"{name} {importlib.metadata.version(name)}, Keras {keras.__version__}"
