"""The code in the docstrings, the README and the docs runs as it stands there."""

import ast
import doctest
import importlib
import pkgutil
import re
import textwrap

import keras
import pytest

import keras_penalties
from tests.support.helpers import ROOT

MODULES = ["keras_penalties"]
MODULES += [m.name for m in pkgutil.walk_packages(keras_penalties.__path__, "keras_penalties.")]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "llms.txt"])

pytestmark = pytest.mark.every_case  # no page shows code that was not run

# A block whose first line has `no-run` after `python` is shown and not run.
FENCE = re.compile(
    r"^(?P<indent>[ \t]*)```python(?P<info>[^\n]*)\n(?P<code>.*?)^(?P=indent)```[ \t]*$",
    re.MULTILINE | re.DOTALL,
)


def blocks(text):
    """The line and the code of each Python block of a page."""
    for found in FENCE.finditer(text):
        if "no-run" not in found["info"]:
            yield text.count("\n", 0, found.start("code")) + 1, textwrap.dedent(found["code"])


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    flags = doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert failed == 0, "the printed report says which example"


def test_there_are_examples():
    finder = doctest.DocTestFinder()
    found = [t for name in MODULES for t in finder.find(importlib.import_module(name)) if t.examples]
    assert len(found) >= 8


def test_there_is_a_readme_with_code():
    assert any(blocks((ROOT / "README.md").read_text()))


def comments_of_prints(code):
    """For the line of each `print` at the top level: the comment after it, or in the line below it."""
    lines = code.split("\n")
    for node in ast.parse(code).body:
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print":
            after = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode().strip()
            yield node.lineno, (after or lines[node.end_lineno].strip()).removeprefix("# ")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_pages(page, tmp_path, monkeypatch):
    """All blocks of a page in one namespace, one after the other, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    registered = keras.saving.get_custom_objects()  # what other tests have registered is not in a new process
    for name in [name for name in registered if not name.startswith("keras_penalties>")]:
        monkeypatch.delitem(registered, name)
    printed = []
    namespace = {"__name__": "__main__", "print": lambda *of: printed.append(" ".join(map(str, of)))}
    for line, code in blocks(page.read_text()):
        printed.clear()
        # Empty lines in front let a traceback name the line of the page.
        exec(compile("\n" * (line - 1) + code, str(page), "exec"), namespace)
        if page.parent.name == "recipes":  # all print at the top level, and show what they print
            shown = {line - 1 + number: comment for number, comment in comments_of_prints(code)}
            assert len(printed) == len(shown), f"{page.name}:{line}: {printed}"
            for (number, comment), value in zip(shown.items(), printed, strict=True):
                assert comment.startswith(value), f"{page.name}:{number}: {value} is printed, not {comment}"


def test_blocks_are_found():
    text = "\n```python\na = 1\n```\n\n  ```python title='b'\n  b = 2\n  ```\n"
    text += "```python no-run\nc\n```\n```bash\nd\n```\n"
    assert [(line, code.strip()) for line, code in blocks(text)] == [(3, "a = 1"), (7, "b = 2")]


def test_comments_of_prints_are_found():
    code = "print(1)  # 1\nif a:\n    print(2)\nprint(\n    'é'\n)\n# é: 3\n"
    assert list(comments_of_prints(code)) == [(1, "1"), (4, "é: 3")]
