"""Layers named by the attributes that contain them, where their own names are generated."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from keras_penalties._tensors.search import Search

L2 = kp.regularizers.L2(0.1)
X, Y = np.linspace(-1, 1, 20, dtype="float32").reshape(4, 5), np.ones((4, 2), "float32")


@keras.saving.register_keras_serializable("attributes")
class Block(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.up, self.down = layers.Dense(6, "relu"), layers.Dense(5, name="down")

    def build(self, shape):
        self.up.build(shape)
        self.down.build((*shape[:-1], 6))
        self.built = True

    def call(self, x):
        return x + self.down(self.up(x))


@keras.saving.register_keras_serializable("attributes")
class Net(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(5, "tanh")
        self.blocks = [Block(), Block()]
        self.heads = {"main": layers.Dense(2)}

    def call(self, x):
        x = self.hidden(x)
        for block in self.blocks:
            x = block(x)
        return self.heads["main"](x)


def built():
    net = Net()
    net(X)
    return net


def logs_of(model):
    model.compile("sgd", "mse", run_eagerly=True)
    return model.evaluate(X, Y, verbose=0, return_dict=True)


def test_each_attribute_names_the_layer_that_it_contains():
    net = built()
    places = [place for place in Search(net, "penalties", "penalize").places if place.is_called_layer]
    by_attribute = {}
    for place in places:
        chain = [*reversed(place.holders), place]
        by_attribute["/".join(step.attributes[0] for step in chain)] = place.name
    assert set(by_attribute) == {
        *("hidden", "blocks.0", "blocks.0/up", "blocks.0/down", "blocks.1", "blocks.1/up", "blocks.1/down"),
        "heads.main",
    }
    for attribute, name in by_attribute.items():
        for part in ("", ":input"):
            one, other = (logs_of(kp.penalize(net, {key + part: L2})) for key in (attribute, name))
            assert sorted(one.values()) == sorted(other.values()), attribute
            assert len(one) == 2


def test_the_log_keys_are_the_attributes():
    net = built()
    keys = ("hidden", "blocks.?/up", "blocks.1", "heads.*", "blocks.0/down")
    logs = logs_of(kp.penalize(net, dict.fromkeys(keys, L2)))
    assert set(logs) - {"loss"} == {
        *("hidden_penalty", "blocks_0_up_penalty", "blocks_1_up_penalty", "blocks_1_penalty"),
        *("heads_main_penalty", "down_penalty"),
    }


def test_a_name_comes_before_an_attribute():
    net = Net()
    net.other = layers.Dense(5, name="hidden")
    net.call = lambda x: net.heads["main"](net.other(net.hidden(x)))
    net(X)
    model = kp.penalize(net, {"hidden": L2})
    assert model.other.activity_penalties and not hasattr(model.hidden, "activity_penalties")


def test_files_keep_the_key(tmp_path):
    model = kp.penalize(built(), {"hidden": L2, "blocks.1/up": L2})
    logs = logs_of(model)
    model.save(tmp_path / "model.keras")
    layers.Dense(1)  # names that Keras generates go on
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.evaluate(X, Y, verbose=0, return_dict=True) == pytest.approx(logs)
    assert {"hidden_penalty", "up_penalty"} < set(logs)


def test_hidden_outputs_take_attributes():
    model = kp.models.HiddenOutputs(built(), hidden=["hidden", "blocks.0/up"])
    model.compile("sgd", "mse", hidden_losses={"hidden": L2, "blocks.0/up": L2})
    logs = model.evaluate(X, Y, verbose=0, return_dict=True)
    expected = logs_of(kp.penalize(model.model, {"hidden": L2, "blocks.0/up": L2}))
    assert logs["hidden_loss"] == pytest.approx(expected["hidden_penalty"])


def test_a_wrong_name_suggests_attributes():
    with pytest.raises(ValueError, match="Did you mean 'hidden'"):
        kp.penalize(built(), {"hiden": L2})


def test_the_list_shows_attributes_of_layers_with_generated_names():
    lines = repr(kp.list_tensors(built())).splitlines()
    assert sum("self.hidden" in line for line in lines) == 1
    assert sum("self.up" in line for line in lines) == 2
    assert not any("self.down" in line for line in lines)  # its own name says it


def test_the_list_has_what_can_be_named_inside_a_loop():
    inside = layers.TimeDistributed(layers.Dense(3, name="row"), name="rows")
    model = keras.Sequential([keras.Input((4, 2)), inside])
    assert list(kp.list_tensors(model)) == ["rows", "rows/row"]
    for name in kp.list_tensors(model):
        kp.penalize(model, {name: L2})


def test_a_model_without_weights_is_refused():
    with pytest.raises(ValueError, match="must be built"):
        kp.list_tensors(Net())


@pytest.mark.parametrize(
    "key", ["hidden", "down", "d*", "blocks.0/up", "up", layers.Dense, "blocks.*/down", "dense:preactivation"]
)
def test_the_list_for_a_key_is_what_penalize_penalizes(key):
    model = built()
    listed = kp.list_tensors(model, key)
    penalized = kp.penalize(model, {key: L2})
    found = [layer for layer in penalized._flatten_layers() if isinstance(layer, kp.layers.ActivityPenalty)]
    assert listed and len(listed) == len(found)


def test_the_list_for_a_key_that_matches_nothing_says_so():
    with pytest.raises(ValueError, match=r"list_tensors has the name 'hiden'.*Did you mean 'hidden'"):
        kp.list_tensors(built(), "hiden")
    with pytest.raises(TypeError, match="`pattern` of list_tensors must be a name"):
        kp.list_tensors(built(), 3)


class Inner(layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(5)

    def build(self, shape):
        self.hidden.build(shape)

    def call(self, x):
        return self.hidden(x)


class Outer(keras.Model):
    """Its attribute `hidden`, and those of two layers inside."""

    def __init__(self):
        super().__init__()
        self.hidden, self.a, self.b, self.out = layers.Dense(5), Inner(), Inner(), layers.Dense(2)

    def call(self, x):
        return self.out(self.b(self.a(self.hidden(x))))


def test_a_whole_path_of_attributes_matches_only_that_layer():
    net = Outer()
    net(X)
    assert sorted(logs_of(kp.penalize(net, {"hidden": L2}))) == ["hidden_penalty", "loss"]
    assert sorted(logs_of(kp.penalize(net, {"a/hidden": L2}))) == ["hidden_penalty", "loss"]
    assert len(logs_of(kp.penalize(net, {"*/hidden": L2}))) == 3
    hidden = kp.models.HiddenOutputs(net, ["hidden"])
    assert tuple(hidden.model.hidden(X).shape) == (4, 5)


class Numbered(keras.Model):
    """Its attributes look like the names that Keras generates for other layers."""

    def __init__(self):
        super().__init__()
        layers_ = [layers.Dense(5), layers.Dense(5), layers.Dense(2)]
        names = [layer.name for layer in layers_]
        for name, layer in zip([*names[1:], "out"], layers_, strict=True):
            setattr(self, name, layer)
        self.order, self.names = layers_, names

    def call(self, x):
        for layer in self.order:
            x = layer(x)
        return x


def test_an_attribute_that_is_the_generated_name_of_another_layer():
    net = Numbered()
    net(X)
    for name in net.names[1:]:
        for attach in (lambda n: kp.penalize(net, {n: L2}), lambda n: kp.models.HiddenOutputs(net, [n])):
            with pytest.raises(ValueError, match="also the name that Keras generated for"):
                attach(name)
    assert len(logs_of(kp.penalize(net, {net.names[0]: L2}))) == 2


@pytest.mark.parametrize("key", ["one:1", "one@1", "two:preactivation", "rows/row:preactivation", "nothing"])
def test_the_list_refuses_what_penalize_refuses(key):
    row = layers.TimeDistributed(layers.Dense(3, name="row"), name="rows")
    stack = [layers.Dense(4, name="one"), row, layers.Flatten(name="two")]
    model = keras.Sequential([keras.Input((3, 4)), *stack])
    with pytest.raises(ValueError) as of_penalize:
        kp.penalize(model, {key: L2})
    with pytest.raises(ValueError) as of_list:
        kp.list_tensors(model, key)
    expected = str(of_penalize.value).replace("`penalties` of penalize", "`pattern` of list_tensors")
    assert str(of_list.value) == expected
