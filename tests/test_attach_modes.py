"""Penalties by name in models that are put together otherwise, in every way that Keras trains a model."""

import threading

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.support.helpers import BACKEND, tensor, to_numpy
from tests.support.part_steps import Mixer

X = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
Y = np.ones((8, 2), "float32")
L2 = kp.regularizers.L2(0.5)


class Net(keras.Model):
    def __init__(self, name):
        super().__init__(name=name)
        self.mixer = Mixer(name="mixer")

    def call(self, x):
        return self.mixer(x)


def around_a_subclassed_part():
    x = keras.Input((6,))
    part = Net("part")
    model = keras.Model(x, layers.Dense(2, name="head")(part(x)))
    return model, {"inner_penalty": [(part.mixer, lambda x: x)]}


def of_blocks():
    blocks = [Mixer(name=f"mixer_{i}") for i in range(2)]
    model = keras.Sequential([keras.Input((6,)), *blocks, layers.Dense(2)])
    places = [(blocks[0], lambda x: x), (blocks[1], lambda x: outer(blocks[0], x))]
    return model, {f"mixer_{i}_inner_penalty": [place] for i, place in enumerate(places)}


def used_twice():
    mixer = Mixer(6, name="mixer")
    mixer.out = layers.Dense(6, name="out")
    encoder = keras.Sequential([keras.Input((6,)), mixer], name="encoder")
    x = keras.Input((6,))
    model = keras.Model(x, layers.Dense(2)(encoder(encoder(x))))
    return model, {"inner_penalty": [(mixer, lambda x: x), (mixer, lambda x: outer(mixer, x))]}


def dense(layer, x):
    return x @ to_numpy(layer.kernel).astype("float64") + to_numpy(layer.bias)


def inner(mixer, x):
    return np.tanh(dense(mixer.inner, x))


def outer(mixer, x):
    return dense(mixer.out, inner(mixer, x))


def expected(places, x=X):
    """The penalties in NumPy, by name; uses of one layer are summed."""
    return {
        name: sum(0.5 * np.sum(inner(mixer, before(x)) ** 2) / len(x) for mixer, before in uses)
        for name, uses in places.items()
    }


BUILDS = {"a subclassed part": around_a_subclassed_part, "blocks": of_blocks, "used twice": used_twice}
MODES = {
    "compiled": {"jit_compile": True},
    "not compiled": {"jit_compile": False},
    "eager": {"run_eagerly": True},
    "several steps": {"steps_per_execution": 2},
    "accumulation": {"accumulation": 2},
    "half": {"policy": "mixed_float16"},
}
BUILT = pytest.mark.parametrize("build", list(BUILDS.values()), ids=list(BUILDS))


@BUILT
@pytest.mark.parametrize("mode", MODES)
def test_values_and_gradients_in_every_mode(build, mode):
    if BACKEND == "torch" and mode in ("compiled", "several steps"):
        pytest.skip("Keras refuses several steps there; what is compiled has a test of its own")
    options = dict(MODES[mode])
    keras.config.set_dtype_policy(options.pop("policy", "float32"))
    accumulation = options.pop("accumulation", None)
    model, places = build()
    values, start = expected(places), model.get_weights()
    kernel = next(iter(places.values()))[0][0].inner.kernel
    kernels = []
    for strength in (0.5, 0.0):
        penalized = kp.penalize(model, {"inner": kp.regularizers.L2(strength)})
        model.set_weights(start)
        # The steps are small: the penalty hardly changes from one batch to the next.
        optimizer = keras.optimizers.SGD(1e-4, gradient_accumulation_steps=accumulation)
        penalized.compile(optimizer, "mse", **options)
        logs = penalized.fit(
            np.tile(X, (2, 1)), np.tile(Y, (2, 1)), batch_size=8, shuffle=False, verbose=0
        ).history
        assert {name for name in logs if name.endswith("_penalty")} == set(values)
        for name, value in values.items():
            expected_value = 2 * strength * value
            assert logs[name][0] == pytest.approx(expected_value, rel=1e-2 if mode == "half" else 5e-4)
        kernels.append(to_numpy(kernel))
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-6  # the gradient of the penalty


@BUILT
def test_two_threads_call_one_model(build):
    model, places = build()
    penalized = kp.penalize(model, {"inner": L2})
    batches, found, ready = [X, 3 * X + 1], [[], []], threading.Barrier(2)
    penalized(X)

    def call(i):
        ready.wait()
        for _ in range(20):
            found[i].append(to_numpy(penalized(tensor(batches[i]))))

    threads = [threading.Thread(target=call, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for x, outputs in zip(batches, found, strict=True):
        assert len(outputs) == 20
        for y in outputs:
            np.testing.assert_array_equal(y, to_numpy(model(tensor(x))))
    penalized(tensor(batches[1]))
    values = expected(places, batches[1])
    assert float(sum(penalized.losses)) == pytest.approx(sum(values.values()), rel=1e-5)


@pytest.mark.slow
@pytest.mark.backends("torch")
def test_torch_compile():
    import torch

    model, places = of_blocks()
    penalized, gradients = kp.penalize(model, {"inner": L2}), []
    compiled = torch.compile(penalized, backend="eager")
    for run in (penalized, compiled):
        outputs = run(tensor(X), training=True)
        losses = sum(penalized.losses)
        assert float(losses) == pytest.approx(sum(expected(places).values()), rel=1e-5)
        penalized.zero_grad()
        (torch.mean(outputs**2) + losses).backward()
        gradients.append([to_numpy(v.value.grad) for v in penalized.trainable_variables])
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    compiled(tensor(2 * X), training=True)
    assert float(sum(penalized.losses)) == pytest.approx(sum(expected(places, 2 * X).values()), rel=1e-5)


@pytest.mark.slow
@pytest.mark.backends("torch")
def test_fit_that_keras_compiles_on_torch():
    model, places = used_twice()
    penalized = kp.penalize(model, {"inner": L2})
    penalized.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=True)
    logs = penalized.fit(X, Y, batch_size=8, verbose=0).history
    assert logs["inner_penalty"] == pytest.approx([expected(places)["inner_penalty"]], rel=1e-5)
