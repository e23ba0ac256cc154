"""Processes that train together end where one ends."""

import pytest

from tests.support import own_loops, replicated, split


@pytest.mark.backends("jax", "torch")
@pytest.mark.parametrize(
    ("count", "only"),
    [
        pytest.param(2, replicated.FEW, marks=pytest.mark.backends("jax")),  # the loop below is of torch
        pytest.param(2, (), marks=pytest.mark.slow),
        pytest.param(4, (), marks=[pytest.mark.slow, pytest.mark.backends("torch")]),
    ],
    ids=["2, a few penalties", "2, every penalty", "4, every penalty"],
)
def test_processes_train_as_one(count, only, tmp_path):
    files = replicated.processes(tmp_path, count, only=only)
    one = replicated.train(only=only)
    for file in files:
        found = replicated.differences(one, replicated.load(file))
        assert max(found.values()) < 1e-5, found


@pytest.mark.backends("torch")
@pytest.mark.parametrize(
    ("count", "only"),
    [pytest.param(2, split.FEW, marks=pytest.mark.slow), pytest.param(4, (), marks=pytest.mark.slow)],
    ids=["2, a few penalties", "4, every penalty"],
)
def test_statistics_of_processes_with_different_numbers_of_rows(count, only, tmp_path):
    files = replicated.processes(tmp_path, count, only=only, module="tests.support.split")
    found = split.apart(split.of_one(only), [split.load(file) for file in files])
    assert len(found) >= 4 * (len(only) or 10)
    assert max(found.values()) < 1e-5, found


@pytest.mark.backends("torch")
def test_a_custom_loop_with_distributed_data_parallel(tmp_path):
    """The loop of Keras' guide. The learned projection, strengths, logs and all weights are those of one
    process; a step without gradients, in one of the processes alone, does not wait for the others."""
    files = replicated.processes(tmp_path, 2, module="tests.support.own_loops")
    logs, weights = own_loops.train()
    strengths = [values for name, values in logs.items() if name.endswith("_strength")]
    assert len(strengths) == 2 and all(values[0] != values[-1] for values in strengths)
    for file in files:
        found = replicated.differences((logs, weights), replicated.load(file))
        assert max(found.values()) < 1e-5, found
