"""Training that PyTorch compiles gives the numbers of training that it does not compile."""

import functools
import types

import keras
import numpy as np
import pytest

from keras_penalties._keras import trainers
from tests.models.networks import data
from tests.models.test_formats import anti_piracy


def test_who_runs_the_code_is_found_from_code_that_has_no_hash():
    """That which `torch.compile` makes may hold dicts as constants."""

    def step():
        return trainers.caller()

    code = step.__code__.replace(co_consts=(*step.__code__.co_consts, {}))
    with pytest.raises(TypeError, match="unhashable"):
        hash(code)
    assert types.FunctionType(code, globals(), closure=step.__closure__)() == "own"


@pytest.mark.slow
@pytest.mark.backends("torch")
@pytest.mark.filterwarnings("ignore")  # PyTorch's own, of what it does not compile
def test_the_logs_are_the_same(monkeypatch):
    import torch

    # What traces the step is PyTorch's own; what makes a program of the trace needs a C++ compiler.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    x, _ = data()
    logs = []
    for compiles in (False, True):
        keras.utils.set_random_seed(1)
        model = anti_piracy()
        model.compile("sgd", jit_compile=compiles)
        logs.append(model.train_on_batch(x, np.arange(len(x)) % 2, return_dict=True))
    assert logs[0].keys() == logs[1].keys()
    for key, value in logs[0].items():
        np.testing.assert_allclose(logs[1][key], value, rtol=1e-5, err_msg=key)
