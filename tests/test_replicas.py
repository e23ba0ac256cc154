"""Training on several devices gives what training on one gives: losses, terms, strengths, state, weights."""

import json

import pytest

import keras_penalties as kp
from tests.contracts import BASES
from tests.support import replicated, split
from tests.support.helpers import fresh_process

# Two steps of bfloat16. More steps would measure how this training amplifies rounding: one device differs
# from float32 by as much as two devices do.
HALF = 2.0**-6
DIFFERENCES = """
import json, keras
from tests.support.replicated import differences, on, tensorflow_devices, train

def apart(context, **options):
    one = train(**options)
    with context:
        return {name: float(value) for name, value in differences(one, train(**options)).items()}
"""


def printed(code):
    return json.loads(fresh_process(DIFFERENCES + code).splitlines()[-1])


def test_every_penalty_is_among_them():
    bases = {cls.__name__ for cls in BASES}
    used = {*replicated.of_one_tensor(), *replicated.of_several_tensors()}
    assert used - {"Keras"} == set(kp.regularizers.__all__) - bases
    assert used >= set(replicated.SPREAD)


@pytest.mark.default_backend_only
@pytest.mark.parametrize(
    ("count", "only"),
    [
        (2, replicated.FEW),
        pytest.param(2, (), marks=pytest.mark.slow),
        pytest.param(4, replicated.FEW, marks=pytest.mark.slow),
    ],
    ids=["2, a few penalties", "2, every penalty", "4, a few penalties"],
)
def test_tensorflow_replicas(count, only):
    found = printed(f"tensorflow_devices({count})\nprint(json.dumps(apart(on({count}), only={only!r})))")
    assert max(found.values()) < 1e-5, found


@pytest.mark.default_backend_only
@pytest.mark.parametrize(
    ("count", "only"),
    [(2, split.FEW), pytest.param(3, (), marks=pytest.mark.slow)],
    ids=["2, a few penalties", "3, every penalty"],
)
def test_statistics_of_tensorflow_replicas_with_different_numbers_of_rows(count, only):
    code = f"""
from tests.support import split
tensorflow_devices({count})
one, several = split.of_one({only!r}), split.of_tensorflow_replicas({count}, {only!r})
print(json.dumps(split.apart(one, several)))
"""
    found = printed(code)
    assert max(found.values()) < 1e-5, found


@pytest.mark.default_backend_only
@pytest.mark.slow
def test_two_tensorflow_replicas_in_half_precision_and_uneven():
    """Gradients of weights are summed in half precision, on each replica, and round otherwise there. Uneven
    splits differ in Keras by itself, but all stays finite."""
    code = """
from tests.support.replicated import FEW
tensorflow_devices(2)
with on(2):
    logs, weights = train(range(17), only=FEW)
assert all(np.isfinite(v).all() for v in [*logs.values(), *weights]), logs
keras.config.set_dtype_policy("mixed_bfloat16")
print(json.dumps(apart(on(2), only=FEW, epochs=1)))
"""
    found = printed("import numpy as np\n" + code)
    assert max(found.values()) < HALF, found


@pytest.mark.backends("jax")
def test_four_jax_devices(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    found = printed("print(json.dumps(apart(on(4))))")
    assert max(found.values()) < 1e-5, found


@pytest.mark.backends("jax")
def test_what_jax_devices_need_not_send(monkeypatch):
    """A statistic of means sends means, and no rows."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    code = """
import jax, keras_penalties as kp
place = jax.sharding.NamedSharding(jax.make_mesh((2,), ("batch",)), jax.sharding.PartitionSpec("batch"))
x = jax.ShapeDtypeStruct((16, 4), "float32", sharding=place)
for name in ("KLSparsity", "LoadBalance", "Variance"):
    step = jax.jit(jax.value_and_grad(getattr(kp.regularizers, name)(1.0).measure))
    program = step.lower(x).compile().as_text()
    assert "all-reduce" in program and "all-gather" not in program, name
print(json.dumps("read"))
"""
    assert printed(code) == "read"
