"""Processes that train together end where one ends."""

import pytest

from tests.support import replicated


@pytest.mark.backends("jax", "torch")
@pytest.mark.parametrize(
    ("count", "only"),
    [
        (2, replicated.FEW),
        pytest.param(2, (), marks=pytest.mark.slow),
        pytest.param(4, (), marks=[pytest.mark.slow, pytest.mark.backends("torch")]),
    ],
    ids=["2, a few penalties", "2, every penalty", "4, every penalty"],
)
def test_processes_train_as_one(count, only, tmp_path):
    files = replicated.processes("process", tmp_path, count, only=only)
    one = replicated.train(only=only)
    for file in files:
        found = replicated.differences(one, replicated.load(file))
        assert max(found.values()) < 1e-5, found
