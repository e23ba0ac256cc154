"""What the package costs: every part in a process of its own, one record, its tables and one figure.

    python -m benchmarks                          # all parts, about half an hour on two cores
    python -m benchmarks hints-jax imports        # these, into the record that is there
    python -m benchmarks tables                   # none: tables and figure of the record

It needs this package with its extras `examples` and `jax`, and PyTorch; other packages that are installed are
measured beside it, and named with their versions. The record is `docs/benchmarks.json`. From it are drawn
`docs/images/benchmarks.png` and the tables of `docs/benchmarks.md`, each below the name of its part. Those of
`overview` summarize all parts.
"""

import argparse
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

from benchmarks import figure, show

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PARTS = {
    f"{part}-{backend}": (part, backend)
    for part, backends in {
        "attach": ("tensorflow", "jax", "torch"),
        "costs": ("tensorflow", "jax", "torch"),
        "hints": ("tensorflow", "jax"),
        "architectures": ("jax",),
    }.items()
    for backend in backends
} | {"imports": ("imports", "tensorflow"), "gpu": ("gpu", "jax")}


def run(part, backend):
    """The record of a part, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "record.json"
        environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment[show.RECORD] = str(file)
        subprocess.run([sys.executable, "-m", f"benchmarks.{part}"], env=environment, check=True, cwd=ROOT)
        return json.loads(file.read_text())


def has_gpu():
    code = "import jax; assert jax.default_backend() == 'gpu'"
    return subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}, or tables")
    parser.add_argument("--docs", type=Path, default=DOCS, help="where record, figure and page are")
    options = parser.parse_args()
    for name in options.parts:
        if name not in (*PARTS, "tables"):
            parser.error(f"there is no part {name!r}; the parts are {', '.join(PARTS)}, and tables")
    record_file, page = options.docs / "benchmarks.json", options.docs / "benchmarks.md"
    wanted = options.parts or [name for name in PARTS if name != "gpu" or has_gpu()]
    record = json.loads(record_file.read_text()) if record_file.exists() else {}
    for name in wanted:
        if name != "tables":
            record[name] = {"machine": machine(), **run(*PARTS[name])}
            record_file.write_text(json.dumps(record, indent=1) + "\n")
    os.environ["KERAS_BACKEND"] = "jax"  # tables need none; it is the quickest to load
    found = tables(record)
    if options.parts == ["tables"]:
        for part in found.values():
            show.show(part)
    page.write_text(filled(page.read_text(), found))
    figure.draw(record, options.docs / "images" / "benchmarks.png")


def tables(record):
    """The tables of each part, and those of the overview."""
    found = {"overview": list(importlib.import_module("benchmarks.overview").tables(record))}
    for name, part in record.items():
        found[name] = list(importlib.import_module(f"benchmarks.{PARTS[name][0]}").tables(part))
    return found


def filled(text, found):
    """The page with its tables: those of a part replace what is below its name, at the same indentation."""
    for name, part in found.items():
        block = re.compile(rf"^( *)<!-- {name} -->\n.*?<!-- end -->", re.DOTALL | re.MULTILINE)
        lines = "\n".join([f"<!-- {name} -->", "", *show.markdown(part), "<!-- end -->"])
        text = block.sub(lambda old, lines=lines: textwrap.indent(lines, old[1]), text)
    return text


def machine():
    system, python = platform.system(), platform.python_version()
    return f"{os.cpu_count()} cores of {platform.machine()}, {system}, Python {python}"


if __name__ == "__main__":
    main()
