"""Models that are hard to make again: names, classes, state, and changes after building."""

import keras
import numpy as np
from keras import layers, ops

import keras_penalties as kp

L2 = kp.regularizers.L2(0.1)
CASES = {}


def case(build):
    """A model to strip: the function gives its inputs and outputs, or the model itself."""
    CASES[build.__name__] = build
    return build


def penalty(tensor):
    return kp.layers.ActivityPenalty(L2)(tensor)


def own(name="Own", **methods):
    """A class of layers that nothing registers, with a Dense layer inside."""

    def init(self, factor=2.0, **kwargs):
        layers.Layer.__init__(self, **kwargs)
        self.factor, self.dense = factor, layers.Dense(4)

    def call(self, inputs):
        return self.dense(inputs) * self.factor

    def build(self, shape):
        self.dense.build(shape)

    return type(name, (layers.Layer,), {"__init__": init, "build": build, "call": call, **methods})


def holder(argument):
    """A class of layers that is given other layers, and says so in its configuration."""

    class Holder(layers.Layer):
        def __init__(self, parts, **kwargs):
            super().__init__(**kwargs)
            self.parts = parts

        def call(self, inputs):
            for part in self.parts:
                inputs = part(inputs)
            return inputs

        def get_config(self):
            parts = [keras.saving.serialize_keras_object(part) for part in self.parts]
            return {**super().get_config(), argument: parts}

        @classmethod
        def from_config(cls, config):
            parts = [keras.saving.deserialize_keras_object(part) for part in config.pop(argument)]
            return cls(parts, **config)

    return Holder


@case
def a_layer_and_an_operation_of_one_name(x):
    return penalty(layers.Add()([x, x])) + 1.0


@case
def a_class_and_an_operation_of_one_name(x):
    return layers.Multiply()([penalty(own("Multiply")()(x)) * 3.0, x])


@case
def two_classes_of_one_name(x):
    return penalty(own("Same", call=lambda self, x: x * 3.0)()(own("Same")()(x)))


@case
def a_name_that_the_configuration_loses(x):
    def init(self, factor, **kw):  # Keras looks for `kwargs`
        layers.Layer.__init__(self, **kw)
        self.factor, self.dense = factor, layers.Dense(4)

    lost = own(__init__=init)
    long = lost(3.0, name="long_2")(lost(2.0, name="long_1")(x))  # with the penalty, the other one is longer
    return layers.Add()([long, penalty(lost(4.0, name="short_1")(x))])


@case
def functions_and_classes_that_nothing_registers(x):
    def twice_tanh(x):
        return ops.tanh(x) * 2.0

    class Ones(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return ops.ones(shape, dtype)

    class Sum(keras.regularizers.Regularizer):
        def __call__(self, x):
            return ops.sum(x)

        def get_config(self):
            return {}

    x = layers.Dense(4, twice_tanh, kernel_initializer=Ones(), kernel_regularizer=Sum())(x)
    return penalty(layers.Lambda(twice_tanh)(x))


@case
def lambdas_that_use_a_module(x):
    return penalty(layers.Lambda(lambda x: ops.abs(x))(x))


@case
def operations_with_arguments(x):
    x = ops.concatenate([penalty(x), 2.0 * x, 1.0 - x], axis=-1)
    return ops.where(x > 0.0, x, -1.0)[:, ::2]


@case
def one_operation_called_twice(x):
    negative = type((-x)._keras_history.operation)()
    return negative(penalty(negative(x) * 2.0))


@case
def a_layer_shared_by_nested_models(x):
    shared, start, other = layers.Dense(4, name="shared"), keras.Input((4,)), keras.Input((4,))
    inner = keras.Model(start, penalty(shared(start)), name="inner")
    sequential = keras.Sequential([other, shared, kp.layers.ActivityPenalty(L2)], name="sequential")
    return shared(sequential(inner(holder("parts")([shared])(x))))


@case
def penalties_that_other_layers_are_given(x):
    parts = [layers.Dense(3, activity_regularizer=L2), kp.layers.ActivityPenalty(L2), layers.Dense(2)]
    x = holder("layers")(parts)(holder("blocks")(parts[1:])(layers.Dense(3)(x)))
    return layers.TimeDistributed(kp.layers.ActivityPenalty(L2))(layers.RepeatVector(2)(x))


@case
def a_graph_that_another_layer_is_given(x):
    start = keras.Input((4,))
    graph = keras.Model(start, layers.Dense(2, name="b")(penalty(layers.Dense(3, name="a")(start))))
    return layers.TimeDistributed(graph)(layers.RepeatVector(2)(x))


@case
def regularizers_by_hand(x):
    block = own()()
    y = block(x)
    block.dense.activity_regularizer = L2
    block.activity_regularizer = keras.regularizers.L2(0.5)
    block.dense.kernel.regularizer = keras.regularizers.L1(0.5)
    return y


@case
def the_statistics_of_a_normalization(x):
    normalization = layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(3.0, 2.0, (50, 4)).astype("float32"))
    return penalty(normalization(x))


@case
def what_a_layer_saves_that_is_no_variable(x):
    def save(self, store):
        layers.Layer.save_own_variables(self, store)
        store["factor"] = np.array(self.factor)

    def load(self, store):
        self.factor = float(np.array(store["factor"]))

    layer = own(
        save_own_variables=save, load_own_variables=load, get_config=lambda self: {"name": self.name}
    )()
    layer.factor = 7.0
    return penalty(layer(x))


def _changed(x, *changes):
    block = own()()
    model = keras.Model(x, penalty(layers.Dense(3)(block(x))))
    for change in changes:
        if change == "lora":
            block.dense.enable_lora(2, lora_alpha=5)
            block.dense.lora_kernel_b.assign(np.ones((2, 4)))
        else:
            model.quantize(change)
    return model


@case
def lora(x):
    dense = layers.Dense(3)
    model = keras.Model(x, penalty(dense(x)))
    dense.enable_lora(2, lora_alpha=5)
    dense.lora_kernel_b.assign(np.ones((2, 3)))
    return model


@case
def lora_inside_a_layer(x):
    return _changed(x, "lora")


@case
def int8(x):
    return _changed(x, "int8")


@case
def int4_then_lora(x):
    return _changed(x, "int4", "lora")


@case
def lora_then_int8(x):
    return _changed(x, "lora", "int8")


@case
def a_layer_beside_the_graph(x):
    model = keras.Model(x, penalty(layers.Dense(3)(x)))
    model.projection = layers.Dense(2)
    model.projection.build((None, 4))
    return model


@case
def a_model_that_makes_its_own_graph(x):
    class Tower(keras.Model):
        def __init__(self, units=3, **kwargs):
            start = keras.Input((4,))
            super().__init__(start, layers.Dense(units)(start), **kwargs)
            self.units = units

        def get_config(self):
            return {"name": self.name, "units": self.units}

    return penalty(Tower(2)(x))


@case
def a_model_with_hidden_outputs_inside(x):
    start = keras.Input((4,))
    inner = keras.Model(start, layers.Dense(3, name="code", activity_regularizer=L2)(start), name="inner")
    return layers.Dense(2)(kp.models.HiddenOutputs(inner, hidden=["code"])(x))


def model_of(name):
    """The model of a case, on inputs of four features."""
    x = keras.Input((4,))
    built = CASES[name](x)
    return built if isinstance(built, keras.Model) else keras.Model(x, built)
