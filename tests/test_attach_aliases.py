"""A layer that several attributes lead to is one layer in the penalized model too, and in its files."""

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from keras_penalties._tensors import Search
from tests.support.attach_networks import (
    assert_same,
    batch_for,
    blocks,
    nested_and_shared,
    outputs,
    subclassed,
)
from tests.support.helpers import to_numpy

L2 = kp.regularizers.L2(0.1)


@keras.saving.register_keras_serializable("tests")
class Embeds(layers.Layer):
    """Holds a layer, which what is around it reaches too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.table = layers.Dense(6, name="table")
        self.again = {"again": [self.table]}

    def build(self, shape):
        self.table.build(shape)

    def call(self, x):
        return self.table(x)


@keras.saving.register_keras_serializable("tests")
class Backbone(keras.Model):
    """As KerasHub writes them: layers first, some of which are within others, then a graph."""

    def __init__(self, **kwargs):
        embeds, out = Embeds(name="embeds"), layers.Dense(6, name="out")
        inputs = keras.Input((6,))
        attributes = {"embeds": embeds, "table": embeds.table, "kept": {"tables": (embeds.table, embeds)}}
        for name, value in attributes.items():
            object.__setattr__(self, name, value)  # as KerasHub does on PyTorch: Keras does not track them
        super().__init__(inputs, out(embeds(inputs)), **kwargs)
        self.last = [out]

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable("tests")
class Task(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.backbone = Backbone(name="backbone")
        self.first, self.table = self.backbone.embeds, self.backbone.embeds.table
        self.built = True

    def call(self, x):
        return self.table(self.backbone(x))

    def get_config(self):
        return {"name": self.name}


@keras.saving.register_keras_serializable("tests")
class Forgets(layers.Layer):
    """As KerasHub's `MLP`: Keras tracks layers, and no attribute leads to them any more."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stack = [layers.Dense(5, "tanh", name="first"), layers.Dense(6, name="second")]
        self.stack = keras.Sequential(self.stack, name="stack")

    def build(self, shape):
        self.stack.build(shape)

    def call(self, x):
        return self.stack(x)


def forgets():
    inputs = keras.Input((6,))
    return keras.Model(inputs, Forgets(name="block")(Forgets(name="other")(inputs)))


MODELS = {
    "forgets": forgets,
    "backbone": Backbone,
    "task": Task,
    "blocks": blocks,
    "nested": nested_and_shared,
    "subclassed": subclassed,
}


def ways(model):
    """The ways of attributes, indices and keys to each layer, grouped by layer."""
    groups, seen = {}, set()

    def visit(value, way):
        if isinstance(value, layers.Layer):
            if not isinstance(value, kp.layers.ActivityPenalty):
                groups.setdefault(id(value), []).append(way)
                if id(value) not in seen:
                    seen.add(id(value))
                    names = {*vars(value), *vars(value).get("_modules", ())} - {"activity_penalties"}
                    for name in sorted(name for name in names if not name.startswith("_")):
                        visit(getattr(value, name), (*way, name))
        elif isinstance(value, dict):
            for key, item in value.items():
                visit(item, (*way, key))
        elif isinstance(value, (list, tuple)):
            for i, item in enumerate(value):
                visit(item, (*way, i))

    visit(model, ())
    return sorted(groups.values())


def datasets(model, path):
    model.save_weights(path)
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found


def test_the_models_have_such_layers():
    assert any(len(group) > 3 for group in ways(Backbone()))
    assert any(len(group) > 4 for group in ways(Task()))


@pytest.mark.parametrize("name", MODELS)
def test_each_layer_stays_one_layer(name, tmp_path):
    model = MODELS[name]()
    file = tmp_path / "model.weights.h5"
    expected = ways(model), datasets(model, file)
    places = Search(model, "pattern", "list_tensors").reachable()
    once = {id(place.operation): place.name for place in places}  # a layer may be held in several places
    for chosen in [*([place.name] for place in places), list(once.values())]:
        penalized = kp.penalize(model, dict.fromkeys(chosen, L2))
        assert (ways(penalized), datasets(penalized, file)) == expected, chosen
        model.load_weights(file)
        assert ways(kp.strip(penalized)) == expected[0], chosen
    penalized.load_weights(file)


@pytest.mark.parametrize("name", ["backbone", "task"])
def test_the_penalty_is_there_by_each_way(name, tmp_path):
    model = MODELS[name]()
    x = keras.random.normal((4, 6))
    penalized = kp.penalize(model, {"embeds/table": L2})
    assert_same(outputs(penalized, x), outputs(model, x))
    for found in (penalized, reloaded(penalized, tmp_path)):
        found.table(x)
        (loss,) = found.table.losses
        expected = 0.1 * (to_numpy(found.table(x)).astype("float64") ** 2).sum() / 4
        assert abs(float(loss) - expected) < 1e-5 * expected


def reloaded(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


@pytest.mark.parametrize("name", MODELS)
def test_a_file_leads_to_each_layer(name, tmp_path):
    model = MODELS[name]()
    x = batch_for(model) if name not in ("backbone", "task", "forgets") else keras.random.normal((4, 6))
    places = Search(model, "pattern", "list_tensors").reachable()
    steps = [tuple(place.steps) for place in places]
    assert len(set(steps)) == len(steps)
    once = {id(place.operation): place.name for place in places}.values()
    penalties = {name: kp.regularizers.L2(0.1 + i) for i, name in enumerate(once)}
    penalized = kp.penalize(model, penalties)
    found = reloaded(penalized, tmp_path)
    for each in (penalized, found):
        each(x, training=False)
    ours, theirs = ([to_numpy(loss) for loss in each.losses] for each in (penalized, found))
    assert len(ours) >= len(penalties) > 1
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)
