"""Every public signature says of which types its arguments and its result are."""

import inspect
import typing

import pytest

import keras_penalties as kp
from keras_penalties._types import Per
from keras_penalties.schedules._strength import Strength
from tests.test_public_api import CLASSES, NAMESPACES

FUNCTIONS = [
    getattr(module, name)
    for module in NAMESPACES
    for name in module.__all__
    if inspect.isroutine(getattr(module, name))
]


def methods(cls):
    """The public methods and properties of `cls` that this package defines, by name."""
    for base in cls.__mro__:
        if base.__module__.startswith("keras_penalties"):
            for name, value in vars(base).items():
                function = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
                ours = inspect.isfunction(function) and function.__module__.startswith("keras_penalties")
                if ours and (not name.startswith("_") or name in ("__init__", "__call__")):
                    yield f"{base.__name__}.{name}", inspect.unwrap(function)


def untyped(function):
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    found = [p.name for p in parameters if p.annotation is p.empty]
    if function.__name__ not in ("__init__", "<lambda>") and signature.return_annotation is signature.empty:
        found.append("its result")
    return found


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_public_functions(function):
    assert untyped(inspect.unwrap(function)) == []


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_public_methods(cls):
    assert {name: untyped(method) for name, method in methods(cls) if untyped(method)} == {}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
def test_strengths_and_choices(cls):
    """A choice is a `Literal`, which an editor completes; a strength may be a schedule or a target."""
    if not cls.__init__.__module__.startswith("keras_penalties"):
        return
    types = typing.get_type_hints(cls.__init__)
    if issubclass(cls, kp.regularizers.Penalty) and "strength" in types:
        assert types["strength"] == Strength
    assert types.get("per", Per) is Per
    words = [p for p in inspect.signature(cls.__init__).parameters.values() if isinstance(p.default, str)]
    for parameter in words:
        if parameter.name not in ("name", "optimizer", "loss"):
            choices = [
                c
                for t in (types[parameter.name], *typing.get_args(types[parameter.name]))
                for c in typing.get_args(t)
            ]
            assert parameter.default in choices, parameter.name


@pytest.mark.parametrize(
    "cls", [c for c in CLASSES if issubclass(c, kp.regularizers.Penalty)], ids=lambda c: c.__name__
)
def test_docstring_says_what_a_strength_may_be(cls):
    section = inspect.getdoc(cls).split("\nArgs:\n")[1].split("\n\n")[0]
    if "    strength: " in section:
        lines = section[section.index("    strength: ") :].split("\n")
        strength = " ".join([lines[0], *(line for line in lines[1:] if line.startswith("        "))][:3])
        assert "schedule" in strength and "Target" in strength
