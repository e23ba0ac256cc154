"""Every penalty in a model that is exported for any batch size: the size is not a number there."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.contracts import PENALTIES
from tests.contracts_pairs import SEVERAL_TENSORS
from tests.support.helpers import BACKEND, to_numpy
from tests.support.open_sizes import with_open_sizes

# PyTorch's slices do not take any number of positions in an exported program.
OPEN = (0,) if BACKEND == "torch" else (0, 1, 2)
# Fewer rows than features, and more: some formulas choose between two forms.
ROWS = (3, 9)

# There a size is a tensor, in every step of `fit` too, and all other tests see it.
not_in_tensorflow = pytest.mark.backends("jax", "torch")


def by_case(cases):
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.name)


def open_axes(case, rank):
    return tuple(axis for axis in OPEN if axis < rank and axis != case.axis % rank)


@not_in_tensorflow
@by_case(PENALTIES)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_a_penalty_is_exported_for_any_size(case, masked):
    if BACKEND == "torch" and masked and case.cls is kp.regularizers.TemporalSmoothness:
        pytest.skip("`torch.take_along_dim` makes a constant of the batch size")

    def drawn(rows):
        x = case.draw((rows, 5), seed=rows)
        return [x, np.arange(rows) % 3 != 1] if masked else [x]

    arguments = drawn(4)
    axes = open_axes(case, arguments[0].ndim)
    exported = with_open_sizes(case.make().measure, *arguments, open_axes=axes)
    for rows in ROWS:
        arguments = drawn(rows)
        found = float(to_numpy(exported(*arguments)))
        np.testing.assert_allclose(found, case.expected(*arguments), rtol=2e-4, atol=1e-6)


@not_in_tensorflow
@by_case(SEVERAL_TENSORS)
@pytest.mark.parametrize("masked", [False, True], ids=["", "masked"])
def test_a_penalty_of_several_tensors_is_exported_for_any_size(case, masked):
    def measure(*arguments):
        return case.make().measure(arguments[: case.count], arguments[case.count :] or None)

    def drawn(rows):
        xs = case.draw((rows, 5), seed=rows)
        return [*xs, *([np.arange(rows) % 3 != 1] * case.count if masked else [])]

    exported = with_open_sizes(measure, *drawn(4), open_axes=(0,))
    for rows in ROWS:
        arguments = drawn(rows)
        found = float(to_numpy(exported(*arguments)))
        expected = case.reference(arguments[: case.count], arguments[case.count :] or None)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6)


def exported_files(tmp_path):
    """A path and arguments of `export` for each format that this backend writes here."""
    if BACKEND != "torch":
        return [(tmp_path / "model", {})]
    import torch

    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    return [
        (tmp_path / "one.pt2", {"format": "torch"}),
        (tmp_path / "any.pt2", {"format": "torch", "dynamic_shapes": batch}),
    ]


@pytest.mark.parametrize("way", ["layer", "argument"])
def test_a_model_is_exported_before_it_was_called(way, tmp_path):
    """The values of the first batch are looked at, which an export does not have."""
    if BACKEND == "torch" and way == "argument":
        pytest.skip("Keras exports no model with an `activity_regularizer=` for any batch size there")
    for path, options in exported_files(tmp_path):
        penalties = [kp.regularizers.DeCov(0.1), kp.regularizers.Entropy(0.1)]
        start = keras.Input((4,))
        h = start
        for penalty in penalties:
            argument = {"activity_regularizer": penalty} if way == "argument" else {}
            h = keras.layers.Dense(5, "softmax", **argument)(h)
            h = kp.layers.ActivityPenalty(penalty)(h) if way == "layer" else h
        keras.Model(start, h).export(path, verbose=False, **options)
