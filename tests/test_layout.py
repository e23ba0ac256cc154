"""The layout of the package: which part may import which, and what belongs to a class alone."""

import ast
from pathlib import Path

import pytest

import keras_penalties

PACKAGE = Path(keras_penalties.__file__).parent
# From the lowest to the highest: a part imports the parts above it in this list, and no others.
LEVELS = [
    ["_types"],
    ["_keras"],
    ["_checks", "_numerics", "_random", "_serialization", "_value_checks"],
    ["_distances", "_logits", "_returned"],
    ["schedules"],
    ["losses"],
    ["regularizers"],
    ["_training"],
    ["layers"],
    ["_tensors"],
    ["models"],
    ["_attach", "_audit"],
    ["_plots", "testing"],
    ["__init__"],
]
FILES = sorted(PACKAGE.rglob("*.py"))

pytestmark = pytest.mark.every_case  # each takes milliseconds
by_file = pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(PACKAGE).as_posix())


def part_of(file):
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(file):
    """The parts that a file imports."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_penalties"):
            names = node.module.split(".")[1:2] or [alias.name for alias in node.names]
            yield from names


def level(part):
    return next(i for i, parts in enumerate(LEVELS) if part in parts)


def test_each_part_has_a_level():
    assert {part_of(file) for file in FILES} == {part for parts in LEVELS for part in parts}


@by_file
def test_imports_go_down(file):
    part = part_of(file)
    found = {other for other in imports(file) if other != part and level(other) >= level(part)}
    assert found == set()


@by_file
def test_files_are_short(file):
    assert len(file.read_text().splitlines()) <= 300


@by_file
def test_no_class_uses_what_is_private_to_another(file):
    """A private attribute is read of `self`, or in the file that makes it; nothing private is imported."""
    tree = ast.parse(file.read_text())
    made = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and is_own(node)}
    made |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    made |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not is_own(node):
            assert node.attr in made | {"_getframe"}, f"line {node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_penalties."):
            modules = PACKAGE.parent.joinpath(*node.module.split("."))
            private = [alias.name for alias in node.names if is_private(alias.name)]
            assert all((modules / f"{name}.py").exists() for name in private), f"line {node.lineno}"


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def is_own(node):
    return ast.unparse(node.value) in ("self", "cls", "super()")


@pytest.mark.parametrize(
    "file",
    [f for f in FILES if f.name == "__init__.py"],
    ids=lambda f: f.parent.relative_to(PACKAGE).as_posix(),
)
def test_no_module_has_the_name_of_what_is_imported_from_it(file):
    """Or one path would mean both, and tools that read paths, such as the site, show the module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("keras_penalties."):
            last = node.module.split(".")[-1]
            assert last not in [alias.name for alias in node.names], f"line {node.lineno}"
