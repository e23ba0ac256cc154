"""The public names: each exported, each documented, each saved under one name only.

That a saved name never changes is the matter of `tests/test_saved.py`.
"""

import ast
import doctest
import importlib
import importlib.metadata
import inspect
import json
import pkgutil
import re
import tomllib
import types
from pathlib import Path

import keras
import pytest

import keras_penalties as kp
from tests.contracts import BASES
from tests.support.helpers import ROOT, fresh_process

PACKAGE = Path(kp.__file__).parent  # the installed one, where the tests run on a wheel
NAMESPACES = [
    kp,
    *(getattr(kp, name) for name in kp.__all__ if isinstance(getattr(kp, name), types.ModuleType)),
]
CLASSES = [
    getattr(module, name)
    for module in NAMESPACES
    for name in module.__all__
    if inspect.isclass(getattr(module, name))
]
PENALTIES = [c for c in CLASSES if issubclass(c, keras.regularizers.Regularizer)]

by_name = pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)


def every_module():
    yield kp
    for info in pkgutil.walk_packages(kp.__path__, "keras_penalties."):
        yield importlib.import_module(info.name)


@pytest.mark.parametrize("module", NAMESPACES, ids=lambda m: m.__name__)
def test_exported_members(module):
    """`__all__` lists what a user sees in the namespace, and no more."""
    public = {name for name in vars(module) if not name.startswith("_")}
    if module is not kp:
        public = {name for name in public if not isinstance(getattr(module, name), types.ModuleType)}
    assert sorted(module.__all__) == sorted(public)
    assert len(set(module.__all__)) == len(module.__all__)


def test_namespaces():
    assert {m.__name__ for m in NAMESPACES} >= {
        f"keras_penalties{suffix}" for suffix in ("", ".regularizers", ".layers", ".models")
    }
    for module in every_module():
        private = any(part.startswith("_") for part in module.__name__.split("."))
        assert private or module in NAMESPACES, f"{module.__name__} is neither private nor exported"


def test_no_registered_name_is_used_twice():
    classes = {
        value
        for module in every_module()
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__.startswith("keras_penalties")
    }
    names = {}
    for cls in classes:
        names.setdefault(keras.saving.get_registered_name(cls), []).append(cls)
    assert {name: found for name, found in names.items() if len(found) > 1} == {}
    for name, (cls,) in names.items():
        if ">" in name:
            assert name == f"keras_penalties>{cls.__name__}"
            assert keras.saving.get_registered_object(name) is cls
    public = [cls.__name__ for cls in CLASSES]
    assert len(set(public)) == len(public)


def test_importing_brings_nothing_along_and_changes_no_setting():
    code = """
import sys, json, keras, random, numpy as np, os
def state():
    policy = keras.config.dtype_policy().name
    return [policy, keras.config.floatx(), keras.config.epsilon(), dict(os.environ), random.getstate(),
            np.random.get_state()[1].tolist()]
settings, before = state(), set(sys.modules)
import keras_penalties as kp
new = {name.split(".")[0] for name in set(sys.modules) - before}
new = sorted(new - set(sys.stdlib_module_names))
print(json.dumps([new, state() == settings, kp.regularizers.L2.__name__]))
"""
    assert json.loads(fresh_process(code).splitlines()[-1]) == [["keras_penalties"], True, "L2"]


def test_version():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", kp.__version__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    if "version" in project["project"]:
        assert project["project"]["version"] == kp.__version__
    else:
        assert "version" in project["project"]["dynamic"]
        source = project["tool"]["hatch"]["version"]["path"]
        assert f'__version__ = "{kp.__version__}"' in (PACKAGE.parent / source).read_text()
    try:
        assert importlib.metadata.version("keras-penalties") == kp.__version__
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("not installed: the version of the project file alone was checked")


def test_the_package_says_that_it_is_typed():
    assert (PACKAGE / "py.typed").exists()


@by_name
def test_the_signature_of_a_class_is_that_of_its_init(cls):
    """`help` and editors show it; a `__new__` of its own hides it in some releases of Python."""
    if not cls.__init__.__module__.startswith("keras_penalties"):
        pytest.skip("its `__init__` is Keras' own")
    of_init = list(inspect.signature(cls.__init__).parameters.values())[1:]
    assert list(inspect.signature(cls).parameters.values()) == of_init


@by_name
def test_docstring(cls):
    text = inspect.getdoc(cls)
    assert len(text.splitlines()[0]) < 110
    assert text.splitlines()[0].endswith(".")
    own = cls.__init__.__module__.startswith("keras_penalties")
    arguments = inspect.signature(cls.__init__).parameters if own else ()
    arguments = [name for name in arguments if name not in ("self", "args", "kwargs")]
    section = text.split("\nArgs:\n")[1].split("\n\n")[0] if arguments else ""
    for argument in arguments:
        assert re.search(rf"^    {argument}: ", section, re.MULTILINE), f"`{argument}` is not under Args"
    if cls is not kp.regularizers.Penalty:
        assert "\nExample:\n" in text
        assert doctest.DocTestParser().get_examples(text)


@by_name
def test_docstring_says_each_default(cls):
    """Except of a name, and what means "without". A value after `Defaults to` is the one in the code."""
    own = cls.__init__.__module__.startswith("keras_penalties")
    arguments = inspect.signature(cls.__init__).parameters.values() if own else ()
    section = inspect.getdoc(cls).partition("\nArgs:\n")[2].split("\n\n")[0]
    entries = dict(re.findall(r"^    ([\w*]+): (.*?)(?=^    \S|\Z)", section, re.MULTILINE | re.DOTALL))
    for argument in arguments:
        text = entries.get(argument.name, "")
        if argument.name == "name" or not argument.default or argument.default is argument.empty:
            says = True  # None, 0, False and () mean "without"
        else:
            says = "efault" in text or "as in Keras" in text
        assert says, f"`{argument.name}` does not say its default, {argument.default!r}"
        if value := re.search(r"Defaults to `?(-?\d[\d.e-]*\d|\d|True|False|\"\w+\")`?[.:]", text):
            assert ast.literal_eval(value[1]) == argument.default, argument.name


@pytest.mark.parametrize("cls", [c for c in CLASSES if c not in BASES], ids=lambda c: c.__name__)
def test_docstring_says_what_is_raised(cls):
    section = inspect.getdoc(cls).split("\nRaises:\n")[1]
    errors = ("TypeError", "ValueError") if issubclass(cls, kp.regularizers.Penalty) else ("Error",)
    for error in errors:
        assert f"{error}: " in section.split("\n\n")[0]


@pytest.mark.parametrize("cls", [c for c in PENALTIES if c not in BASES], ids=lambda c: c.__name__)
def test_docstring_of_a_penalty_has_formula_shapes_and_source(cls):
    text = inspect.getdoc(cls)
    assert text.count("$$") >= 2
    assert "\nShapes: " in text
    assert re.search(r"\nSource: .*\d{4}", text, re.DOTALL)


# The proceedings of WIFS 2018 are not on arXiv, and their DOI could not be checked.
WITHOUT_LINK = {"AntiPiracy", "Confusion"}


@by_name
def test_a_source_links_to_its_paper(cls):
    """The title of a paper is the link: `[title](https://...)`."""
    _, _, source = inspect.getdoc(cls).partition("\nSource: ")
    assert len(re.findall("https?://", source)) == len(re.findall(r"[^\]]+\]\(https://[^)\s]+\)", source))
    if cls not in BASES and (source or cls in PENALTIES):
        assert ("](https://" in source) is (cls.__name__ not in WITHOUT_LINK)


FUNCTIONS = [
    value
    for module in NAMESPACES
    if module is not kp.losses  # whose functions have their arguments explained at their classes
    for value in (getattr(module, name) for name in module.__all__)
    if inspect.isfunction(value)
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_docstring_of_a_function(function):
    text = inspect.getdoc(function)
    section = text.split("\nArgs:\n")[1].split("\n\n")[0]
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^    \**{argument}: ", section, re.MULTILINE), f"`{argument}` is not under Args"
    assert "\nRaises:\n" in text
    assert doctest.DocTestParser().get_examples(text)


def test_each_name_is_on_one_page_of_the_reference():
    text = "\n".join(page.read_text() for page in sorted((ROOT / "docs" / "api").glob("*.md")))
    entries = re.findall(r"^::: (\S+)$", text, re.MULTILINE)
    exported = [
        f"{module.__name__}.{name}"
        for module in NAMESPACES
        for name in module.__all__
        if not isinstance(getattr(module, name), types.ModuleType)
    ]
    # What `audit` returns is documented, but not exported: nobody else creates it.
    assert sorted(entries) == sorted([*exported, "keras_penalties._audit.report.Audit"])


@pytest.mark.parametrize("cls", PENALTIES, ids=lambda c: c.__name__)
def test_public_methods_of_a_penalty_are_documented(cls):
    for name, method in vars(cls).items():
        if inspect.isfunction(method) and name in ("value", "measure", "validate", "statistic", "elements"):
            assert method.__doc__ or any(getattr(base, name, None) for base in cls.__mro__[1:])
