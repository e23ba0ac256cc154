"""What is private in Keras: listed once, there in the release that is installed, and used nowhere else.

`pytest -v` on this file prints the list, with what the installed release has of it.
"""

import ast
import functools
import re
from pathlib import Path

import keras
import numpy as np
import pytest

import keras_penalties
from keras_penalties._keras import copies, private
from keras_penalties._keras.parts import PARTS
from keras_penalties._keras.private_part import TESTED
from tests.support.helpers import ROOT

PACKAGE = Path(keras_penalties.__file__).parent
RELEASE = tuple(map(int, keras.__version__.split(".")[:2]))
HERE = [
    part
    for part in PARTS
    if part.backend in (None, keras.backend.backend()) and tuple(map(int, part.since.split("."))) <= RELEASE
]
PRIVATE = re.compile(r"_[a-zA-Z]\w*")
# Private, but of Python: documented, and no part of Keras.
OF_PYTHON = {"_getframe", "_fields"}


@functools.cache
def examples():
    """An object of each class whose attributes are listed, by name: many are set by `__init__`."""
    return dict(_examples())


def _examples():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile(loss="mse", metrics=["mae"])
    model.evaluate(np.ones((1, 2)), np.ones((1, 1)), verbose=0)
    yield "Layer", model.layers[1]
    yield from ((name, model) for name in ("TFLayer", "TorchLayer", "JAXTrainer", "Trainer", "Model"))
    yield "Module", model.layers[1]
    yield "Functional", model
    yield "Sequential", keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    yield "KerasTensor", inputs
    yield "MultiHeadAttention", keras.layers.MultiHeadAttention(1, 2)
    yield "Tracker", private.of(model, "_tracker")
    yield "CompileMetrics", private.of(model, "_compile_metrics")
    yield "Loss", keras.losses.MeanSquaredError()
    yield "LossFunctionWrapper", keras.losses.MeanSquaredError()
    yield "KerasVariable", model.weights[0]
    yield "RandomState", np.random.RandomState(0)
    if keras.backend.backend() == "jax":
        import jax

        kept = []
        jax.make_jaxpr(lambda x: kept.append(x) or x)(1.0)
        yield "Tracer", kept[0]


@pytest.mark.parametrize("part", HERE, ids=lambda part: part.where)
def test_the_installed_release_has_it(part):
    try:
        private.look_up(part.where)
    except AttributeError:
        found = examples().get(part.owner)
        assert hasattr(found, part.name), f"Keras {keras.__version__} has no {part.where}: {part.use}"


def test_the_local_names_of_metrics():
    """`trainers.Gathering` reads two local variables of a property of Keras."""
    trainer = private.find("keras.src.trainers.trainer.Trainer")
    assert {"self", "metrics"} <= set(trainer.metrics.fget.__code__.co_varnames)


def test_the_list():
    wheres = [part.where for part in PARTS]
    assert len(set(wheres)) == len(wheres)
    for part in PARTS:
        assert part.use and not part.use.endswith("."), part.where  # the error goes on after it
        for file in part.files:
            source = (PACKAGE / "_keras" / f"{file}.py").read_text()
            stores = [f"_{store}" for store in copies.STORES] if file == "copies" else []
            assert re.search(rf"\b{part.name}\b", source) or part.name in stores, f"{file}.py, {part.where}"


def test_tested_releases_are_those_of_the_project():
    assert f"keras>={TESTED[0]}" in (ROOT / "pyproject.toml").read_text()
    assert tuple(map(int, TESTED[1].split("."))) >= RELEASE


# Where private parts are used.


@functools.cache
def files():
    return {
        path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")
    }


@functools.cache
def own_names():
    """The private names that this package gives to things of its own."""
    return set(_own_names())


def _own_names():
    for tree in files().values():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                yield node.name
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                yield node.attr
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id


@functools.cache
def keras_names():
    """The private names of Keras' classes and of their objects."""
    classes = [keras.Model, keras.losses.Loss, keras.metrics.Metric, keras.regularizers.Regularizer]
    classes += [type(found) for found in examples().values()]
    return {
        name
        for found in [*classes, *examples().values()]
        for name in [*dir(type(found)), *dir(found)]
        if PRIVATE.fullmatch(name)
    }


def uses(tree):
    """The private names in a file: read or set, as strings, imported, or defined in a class."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and PRIVATE.fullmatch(node.attr):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if PRIVATE.fullmatch(node.value) or node.value.startswith("keras.src."):
                yield node.value
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            yield from (name for name in names if "keras.src" in name)
        elif isinstance(node, ast.ClassDef):
            yield from (item.name for item in node.body if isinstance(item, ast.FunctionDef))


# Names that Keras has too, but that belong to objects of this package here.
SAME_NAME = {
    "_audit/recorder.py": {"_regularizer"},
    "_audit/report.py": {"_name"},
}


@pytest.mark.parametrize("file", [file for file in sorted(files()) if not file.startswith("_keras/")])
def test_outside_of_the_boundary_nothing_private_is_used(file):
    of_keras, own = keras_names(), own_names()
    found = {name for name in uses(files()[file]) if name in of_keras or name.startswith("keras.src")}
    found |= {name for name in uses(files()[file]) if name in {p.name for p in PARTS} and PRIVATE.match(name)}
    assert found - SAME_NAME.get(file, set()) == set()
    attributes = {node.attr for node in ast.walk(files()[file]) if isinstance(node, ast.Attribute)}
    assert {name for name in attributes if PRIVATE.fullmatch(name)} <= own | OF_PYTHON


@pytest.mark.parametrize("file", [file for file in sorted(files()) if file.startswith("_keras/")])
def test_inside_of_the_boundary_everything_private_is_listed(file):
    if file.endswith(("/parts.py", "/private_part.py")):
        return
    stem = Path(file).stem
    listed = {name for part in PARTS if stem in part.files for name in (part.name, part.where)}
    own = own_names() - keras_names()
    found = set(uses(files()[file])) - own - OF_PYTHON
    found = {name for name in found if PRIVATE.fullmatch(name) or name.startswith("keras.src")}
    assert {name for name in found if name not in ("_self_", "_saved_model", "_C")} - listed == set()


@pytest.mark.parametrize("file", [file for file in sorted(files()) if file.startswith("_keras/")])
def test_private_attributes_are_read_by_name(file):
    """`private.of` and `private.put` say what is missing; `layer._tracker` would not."""
    of_keras = {part.name for part in PARTS if PRIVATE.match(part.name)}
    for node in ast.walk(files()[file]):
        if isinstance(node, ast.Attribute) and node.attr in of_keras:
            assert ast.unparse(node.value) == "super()", f"{file}:{node.lineno}: {ast.unparse(node)}"
