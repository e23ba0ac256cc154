"""Models built at random: every way of attaching every penalty adds the number that NumPy computes."""

import keras
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import keras_penalties as kp
from tests.contracts import PENALTIES
from tests.support import random_models
from tests.support.helpers import BACKEND, to_numpy
from tests.support.random_models import WAYS, attach, build, data, hidden_of, plans

EXAMPLES = settings(max_examples=settings.default.max_examples * 2)
RATE = 0.01


def fits(case, plan):
    """Whether the penalty is made for what the layer of `plan` gives."""
    bounded = plan.activation in ("sigmoid", "softmax") or case.inside[0] == -np.inf
    sums = case.inputs.__name__ != "distributions" or plan.activation == "softmax"
    return case.axis == -1 and case.takes((1, *plan.positions, plan.units)) and bounded and sums


def logs_of(model, x, y, options):
    model.compile(keras.optimizers.SGD(RATE), "mse", run_eagerly=BACKEND != "jax", **options)
    return logs_again(model, x, y)


@EXAMPLES
@given(case=st.sampled_from(PENALTIES), plan=plans(), rows=st.integers(1, 5), way=st.sampled_from(WAYS))
def test_adds_what_numpy_computes_and_comes_back_from_a_file(case, plan, rows, way, tmp_path_factory):
    assume(fits(case, plan))
    assume(way in case.ways(WAYS))
    # An argument sees no mask, and on JAX Keras forgets the first of two uses: both are in the docs.
    assume(way != "argument" or not (plan.masked or (BACKEND == "jax" and plan.inputs > 1)))
    x, y = data(plan, rows)
    expected = sum(case.added(hidden, mask) for hidden, mask in hidden_of(plan, x))
    plain = build(plan)
    main = logs_of(plain, x, y, {})["loss"]
    model, options, keys = attach(plan, way, case.make())
    logs = logs_of(model, x, y, options)
    close = {"rel": 1e-3, "abs": 1e-4 * max(1.0, abs(main), abs(expected))}
    assert logs["loss"] == pytest.approx(main + expected, **close)
    if keys:
        assert sum(logs[key] for key in keys) == pytest.approx(expected, **close)
    if "main_loss" in logs:
        assert logs["main_loss"] == pytest.approx(main, rel=1e-5, abs=1e-6)
    for mine, plainly in zip(outputs(model, x), outputs(plain, x), strict=True):
        np.testing.assert_array_equal(mine, plainly)
    path = tmp_path_factory.mktemp("random") / "model.keras"
    model.save(path)
    again = keras.models.load_model(path)
    assert logs_again(again, x, y) == pytest.approx(logs, rel=1e-5, abs=1e-6)
    if way in ("layer", "name"):
        stripped = kp.strip(again)
        assert not [v for v in stripped._flatten_layers() if isinstance(v, kp.layers.ActivityPenalty)]
        for mine, plainly in zip(outputs(stripped, x), outputs(plain, x), strict=True):
            np.testing.assert_array_equal(mine, plainly)


def logs_again(model, x, y):
    logs = model.evaluate(x, y, batch_size=64, verbose=0, return_dict=True)
    return {key: float(value) for key, value in logs.items()}


def outputs(model, x):
    return [to_numpy(output) for output in keras.tree.flatten(model(x, training=False))]


@EXAMPLES
@given(case=st.sampled_from(PENALTIES), plan=plans(), rows=st.integers(2, 5))
def test_trains_the_same_by_every_way(case, plan, rows):
    assume(fits(case, plan) and not plan.masked and (BACKEND != "jax" or plan.inputs == 1))
    x, y = data(plan, rows)
    trained = {}
    for way in case.ways(WAYS):
        model, options, _ = attach(plan, way, case.make())
        logs_of(model, x, y, options)
        model.fit(x, y, batch_size=rows, epochs=2, verbose=0)
        trained[way] = [to_numpy(output) for output in outputs(model, x)]
    first, *others = trained
    for way in others:
        for mine, its in zip(trained[way], trained[first], strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-4, atol=1e-5, err_msg=f"{way} and {first}")


def test_every_penalty_is_for_some_plan():
    some = random_models.Plan((2,), 3, 3, "softmax", 0, False, 1, 1, False, False)
    assert {case.cls for case in PENALTIES if fits(case, some)} == {case.cls for case in PENALTIES}
