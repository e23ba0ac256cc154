"""`llms.txt`, from which coding assistants write code, and the README name everything public.

Their blocks are run by `tests/test_docs.py`.
"""

import ast
import inspect
import re
import types

import pytest

import keras_penalties as kp
from tests.support.helpers import ROOT

pytestmark = pytest.mark.default_backend_only

LLMS = (ROOT / "llms.txt").read_text()
NAMESPACES = [value for name in kp.__all__ if isinstance(value := getattr(kp, name), types.ModuleType)]
PUBLIC = {name: getattr(module, name) for module in [kp, *NAMESPACES] for name in module.__all__}


def calls():
    """The calls of public names in inline code: `L2(strength, per="example")`."""
    for code in re.findall(r"`([^`\n]+)`", LLMS):
        try:
            tree = ast.parse(code, mode="eval")
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).split(".")[-1]
                if callable(PUBLIC.get(name)):
                    yield name, node


@pytest.mark.parametrize("page", ["llms.txt", "README.md"])
def test_every_public_name_is_on_the_page(page):
    text = (ROOT / page).read_text()
    assert [name for name in PUBLIC if not re.search(rf"\b{name}\b", text)] == []


def wrong_arguments(name, call):
    """Arguments that do not exist; and, where a call lists them by name, wrong places and wrong defaults."""
    parameters = inspect.signature(PUBLIC[name]).parameters
    own = {k: p for k, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    listed = [a.id for a in call.args if isinstance(a, ast.Name)]
    is_signature = {k for k, p in own.items() if p.default is p.empty} <= set(listed)
    if is_signature and listed != list(own)[: len(listed)]:
        yield f"{name}({', '.join(listed)})"
    for keyword in call.keywords:
        if keyword.arg not in own:
            if keyword.arg != "name":
                yield f"{name} has no argument {keyword.arg}"
        elif is_signature and isinstance(keyword.value, (ast.Constant, ast.UnaryOp)):
            default = own[keyword.arg].default
            if ast.literal_eval(keyword.value) != default:
                yield f"{keyword.arg} of {name} is {default!r}"


def test_signatures():
    found = list(calls())
    assert [wrong for name, call in found for wrong in wrong_arguments(name, call)] == []
    assert len(found) > 60
