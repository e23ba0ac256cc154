"""Parts of a penalized model: `get_layer(name).output` is a tensor of its own graph."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.support.attach_networks import assert_same, outputs, penalties_of

L2 = kp.regularizers.L2(0.1)
X = np.ones((2, 4), "float32")


def chain():
    return [keras.Input((4,)), *(layers.Dense(4, name=name) for name in "abcd")]


def functional():
    x, *parts = chain()
    h = x
    for part in parts:
        h = part(h)
    return keras.Model(x, h)


def sequential():
    return keras.Sequential(chain())


@keras.saving.register_keras_serializable("tests")
class Pyramid(keras.Model):
    """A graph some of whose tensors are attributes, as in KerasHub, and a layer that is used twice."""

    def __init__(self, **kwargs):
        x = keras.Input((4,), name="start")
        twice = layers.Dense(4, name="twice")
        low = layers.Dense(4, name="low")(x)
        high = twice(twice(low))
        super().__init__(x, high, **kwargs)
        self.start, self.levels = x, {"low": low, "all": [low, high]}

    def get_config(self):
        return {"name": self.name}


def part_of(model, tensors):
    """The model that ends at `tensors`, after a call."""
    part = keras.Model(model.inputs, tensors)
    part([X])
    return part


@pytest.mark.parametrize("build", [functional, sequential])
def test_a_later_layer_brings_the_penalties_before_it(build):
    model = build()
    penalized = kp.penalize(model, {"b": L2})
    expected = {"a": [], "b": ["b_penalty"], "c": ["b_penalty"], "d": ["b_penalty"]}
    for name, penalties in expected.items():
        part = part_of(penalized, penalized.get_layer(name).output)
        assert penalties_of(part) == penalties
        assert len(part.losses) == len(penalties)
        assert_same(outputs(part, [X]), outputs(part_of(model, model.get_layer(name).output), [X]))
    for whole in (penalized, kp.strip(penalized), model):
        part = part_of(whole, {name: whole.get_layer(name).output for name in "abcd"})
        assert len(part.losses) == (whole is penalized)


@pytest.mark.parametrize("build", [functional, sequential])
def test_layers_before_the_first_penalty_are_shared(build):
    model = build()
    penalized = kp.penalize(model, {"b": L2})
    shared = [penalized.get_layer(name) is model.get_layer(name) for name in "abcd"]
    assert shared == [True, False, False, False]
    assert type(penalized.get_layer("c")) is layers.Dense
    assert penalized.get_layer("c").kernel is model.get_layer("c").kernel
    assert [len(layer._inbound_nodes) for layer in model.layers] == [1] * len(model.layers)


def test_tensors_in_attributes_are_those_of_the_new_graph():
    model = Pyramid(name="pyramid")
    penalized = kp.penalize(model, {"low": L2})
    for tensors in (penalized.levels["low"], penalized.levels["all"][1], penalized.levels["all"]):
        assert len(part_of(penalized, tensors).losses) == 1
    assert not part_of(model, model.levels["all"]).losses
    penalized = kp.penalize(model, {"start": L2})
    assert penalized.start is model.start
    assert len(part_of(penalized, penalized.levels["low"]).losses) == 1


def test_the_file_of_a_graph_whose_penalty_was_moved(tmp_path):
    model = kp.penalize(Pyramid(name="pyramid"), {"twice": L2})
    model = kp.penalize(model, {"low": L2})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert sorted(penalties_of(loaded)) == ["low_penalty", "twice_penalty", "twice_penalty_1"]
    assert_same(outputs(loaded, X), outputs(model, X))
    for each in (model, loaded):
        each(X)
        assert len(each.losses) == 3
        assert not penalties_of(kp.strip(each))


def test_a_penalty_after_another_is_logged_as_before():
    """The layer of the first one is called on a new tensor, so it is copied."""
    strength = keras.optimizers.schedules.PolynomialDecay(0.0, 2, 0.1)
    x = keras.Input((4,))
    h = layers.Dense(4, name="a", kernel_initializer="ones")(x)
    h = kp.layers.ActivityPenalty(kp.regularizers.L2(strength), name="own")(h)
    model = keras.Model(x, layers.Dense(1, kernel_initializer="ones")(h))
    penalized = kp.penalize(model, {"a": L2})
    penalized.compile(keras.optimizers.SGD(0.0), "mse")
    logs = penalized.fit(np.tile(X, (2, 1)), np.zeros((4, 1)), batch_size=2, epochs=2, verbose=0).history
    assert logs["a_penalty"] == pytest.approx([6.4, 6.4])  # 0.1 * 4 * 4**2
    assert logs["own"] == pytest.approx([1.6, 6.4])  # the mean strengths are 0.025 and 0.1
    assert logs["loss"] == pytest.approx([256 + 6.4 + own for own in logs["own"]])
    own = {id(v) for v in model.variables}
    assert [id(v) for v in penalized.variables if id(v) in own] == [id(v) for v in model.variables]


def test_a_layer_in_two_graphs_stays_one_layer():
    """One graph calls it before the penalty, the other after it."""
    shared, x, start = layers.Dense(4, name="shared"), keras.Input((4,)), keras.Input((4,))
    inner = keras.Model(start, shared(start), name="inner")
    h = layers.Dense(4, name="a")(inner(x))
    model = keras.Model(x, shared(h))
    penalized = kp.penalize(model, {"a": L2})
    assert penalized.get_layer("inner").get_layer("shared") is penalized.get_layer("shared")
    assert penalized.get_layer("shared") is not shared
    assert [id(v) for v in penalized.variables] == [id(v) for v in model.variables]
    assert_same(outputs(penalized, X), outputs(model, X))


def test_a_graph_and_a_part_of_it_share_their_calls():
    x = keras.Input((4,))
    a, b, c = (layers.Dense(4, name=name) for name in "abc")
    h = a(x)
    early = b(h)
    late = b(c(h))
    model = keras.Model(x, layers.Add(name="sum")([early, late]))
    model.part = keras.Model(x, late)
    penalized = kp.penalize(model, {"a": L2})
    assert kp.strip(penalized).to_json() == model.to_json()
    part = part_of(penalized, [penalized.part.outputs[0], *(penalized.get_layer(n).output for n in "abc")])
    assert len(part.losses) == 1
    assert_same(outputs(part, [X]), outputs(keras.Model(x, [late, h, early, c.output]), [X]))


def test_a_penalty_stays_when_another_layer_is_penalized():
    """For each pair of layers: penalized one after the other, and both at once, they add the same."""
    x = np.ones((2, 4, 5), "float32")
    start = keras.Input((4, 5))
    inner = keras.Model(start, layers.Dense(5, "tanh", name="deep")(start), name="inner")
    stack = keras.Sequential([keras.Input((4, 5)), layers.Dense(5, name="low")], name="stack")
    inputs = keras.Input((4, 5))
    h = layers.Dense(5, name="last")(stack(inner(layers.Dense(5, name="first")(inputs))))
    model = keras.Model(inputs, h)

    def added(penalized):
        penalized(x)
        return sorted(float(loss) for loss in penalized.losses)

    keys = ["first", "inner", "inner/deep", "stack", "stack/low", "last", "inner/deep:preactivation"]
    for one, other in itertools.permutations(keys, 2):
        at_once = kp.penalize(model, {one: kp.regularizers.L2(0.1), other: kp.regularizers.L1(0.1)})
        expected = added(at_once)
        assert len(expected) == 2
        again = kp.penalize(
            kp.penalize(model, {one: kp.regularizers.L2(0.1)}), {other: kp.regularizers.L1(0.1)}
        )
        np.testing.assert_allclose(added(again), expected, rtol=1e-6, err_msg=f"{one}, then {other}")
        assert added(kp.strip(again)) == []
