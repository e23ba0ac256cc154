"""Every loss of a batch: its formula, its labels, its weights, its precision, its gradients, its file."""

import hypothesis
import hypothesis.strategies as st
import keras
import numpy as np
import pytest
from keras import ops

from keras_penalties._keras.masks import set_keras_mask
from tests.losses.batch_cases import BATCH_CASES, EDGES, draw
from tests.support.helpers import dtype_of, finite_differences, float64, gradient, tensor, to_numpy

by_case, by_distance, by_cosine = (
    pytest.mark.parametrize("case", cases, ids=lambda case: case.name)
    for cases in (BATCH_CASES, [c for c in BATCH_CASES if not c.cosine], [c for c in BATCH_CASES if c.cosine])
)
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


def values(case, y, p):
    return to_numpy(case.function(tensor(y), p if ops.is_tensor(p) else tensor(p), **case.options))


@by_case
@pytest.mark.every_case
def test_is_its_formula(case):
    y, p = draw()
    expected = case.reference(y, p)
    assert expected[-1] == 0.0 or case.name.startswith(("Pairwise", "MinDiff"))
    np.testing.assert_allclose(values(case, y, p), expected, **CLOSE)
    np.testing.assert_allclose(to_numpy(case.make(reduction=None)(y, p)), expected, **CLOSE)
    np.testing.assert_allclose(float(case.make()(y, p)), expected.mean(), **CLOSE)
    np.testing.assert_allclose(float(case.make(reduction="sum")(y, p)), expected.sum(), **CLOSE)


@by_case
@hypothesis.given(
    st.sampled_from([1, 2, 9]).flatmap(lambda n: st.lists(st.integers(0, 4), min_size=n, max_size=n)),
    st.integers(0, 1000),
)
def test_is_its_formula_for_any_labels(case, y, seed):
    p = np.random.RandomState(seed).randn(len(y), 3).astype("float32")
    np.testing.assert_allclose(values(case, y, p), case.reference(y, p), rtol=1e-4, atol=1e-5)


@by_case
def test_labels_in_any_form(case):
    y, p = draw()
    expected = values(case, y, p)
    for same in (y[:, None], y.astype("float32"), y.astype("int64")[:, None], np.eye(8)[y], 900 - 100 * y):
        np.testing.assert_array_equal(values(case, same, p), expected)
        np.testing.assert_array_equal(to_numpy(case.make(reduction=None)(same, p)), expected)
    np.testing.assert_array_equal(values(case, y > 1, p), values(case, (y > 1).astype("int32"), p))


@by_case
def test_uses_sample_weight(case):
    y, p = draw()
    weights = np.linspace(0.1, 2.0, len(y)).astype("float32")
    expected = np.mean(case.reference(y, p) * weights)
    for shape in ((-1,), (-1, 1)):
        found = float(case.make()(y, p, sample_weight=weights.reshape(shape)))
        np.testing.assert_allclose(found, expected, **CLOSE)
    found = float(case.make()(y, p, sample_weight=0.5))
    np.testing.assert_allclose(found, 0.5 * case.reference(y, p).mean(), **CLOSE)


@by_case
def test_rows_of_weight_zero_are_in_no_pair(case):
    """As rows that were never there, whatever their labels. Keras divides by the number of all rows."""
    y, p = draw(12)
    labelled, seen = np.arange(12) % 4 != 1, np.arange(12) % 5 != 2
    weights = np.where(labelled, np.linspace(0.5, 2.0, 12), 0.0).astype("float32")

    def total(p, *, y=y, masked=False):
        p = p * 1.0
        if masked:
            set_keras_mask(p, tensor(seen))
        return case.make(reduction="sum")(tensor(y), p, sample_weight=tensor(weights))

    for masked in (False, True):
        kept = labelled & seen if masked else labelled
        expected = np.sum(case.reference(y[kept], p[kept]) * weights[kept])
        for others in (y, np.where(labelled, y, 0), np.where(labelled, y, -1)):
            np.testing.assert_allclose(float(total(tensor(p), y=others, masked=masked)), expected, **CLOSE)
        slope = gradient(lambda p, masked=masked: total(p, masked=masked), tensor(p))
        assert (slope[~kept] == 0).all() and (slope[kept] != 0).any()
    found = float(case.make()(y, p, sample_weight=weights))
    expected = np.sum(case.reference(y[labelled], p[labelled]) * weights[labelled]) / 12
    np.testing.assert_allclose(found, expected, **CLOSE)


@by_case
def test_rows_that_a_mask_drops_are_in_no_pair(case):
    y, p = draw(12)
    kept = np.arange(12) % 4 != 1
    expected = case.reference(y[kept], p[kept])
    p[~kept] = np.nan

    def loss(p, made):
        p = p * 1.0
        set_keras_mask(p, tensor(kept))
        return made(tensor(y), p)

    np.testing.assert_allclose(float(loss(tensor(p), case.make())), expected.mean(), **CLOSE)
    np.testing.assert_allclose(float(loss(tensor(p, "float64"), case.make())), expected.mean(), **CLOSE)
    found = to_numpy(loss(tensor(p), lambda y, p: case.function(y, p, **case.options)))
    np.testing.assert_allclose(found[kept], expected, **CLOSE)
    assert (found[~kept] == 0).all()
    slope = gradient(lambda p: loss(p, case.make()), tensor(p))
    assert np.isfinite(slope[kept]).all() and (slope[~kept] == 0).all()


@by_case
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_summed_in_float32(case, dtype):
    y, p = draw()
    p = tensor(p, dtype)
    value = case.function(tensor(y, dtype), p, **case.options)
    assert dtype_of(value) == "float32"
    np.testing.assert_allclose(to_numpy(value), case.reference(y, to_numpy(p)), **CLOSE)


@by_case
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("edge", EDGES)
def test_value_and_gradient_are_finite_at_the_edges(case, dtype, edge):
    y, p = EDGES[edge]
    y, p = y.astype("int32"), tensor(p.astype("float32"), dtype)
    assert np.isfinite(values(case, y, p)).all()
    slope = gradient(case.mean, p, tensor(y))
    assert np.isfinite(slope).all()


@by_case
@pytest.mark.parametrize("edge", ["one row", "one class", "all different", "equal pairs", "a row of zeros"])
def test_edges_have_the_value_of_the_formula(case, edge):
    y, p = EDGES[edge]
    p = p.astype("float32")
    np.testing.assert_allclose(values(case, y, p), case.reference(y, p), rtol=1e-3, atol=2e-3)


@by_distance
def test_rows_far_from_zero_keep_their_digits(case):
    y, p = draw()
    p = np.float32(1e4) + p
    np.testing.assert_allclose(values(case, y, p), case.reference(y, p), rtol=1e-4, atol=1e-5)


@by_cosine
@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_the_length_of_a_row_does_not_matter_to_its_direction(case, size):
    y, p = draw()
    found = values(case, y, p * np.float32(size))
    np.testing.assert_allclose(found, case.reference(y, p), rtol=1e-4, atol=1e-5)
    slope = gradient(case.mean, p * np.float32(size), tensor(y))
    expected = gradient(case.mean, p, tensor(y))
    np.testing.assert_allclose(slope * size, expected, rtol=1e-3, atol=1e-5)


@by_cosine
def test_the_largest_rows_have_a_direction(case):
    y, p = draw()
    large = p * np.float32(3e38 / np.abs(p).max())
    np.testing.assert_allclose(values(case, y, large), case.reference(y, p), rtol=1e-4, atol=1e-5)


@by_case
@pytest.mark.every_case
def test_gradient_is_that_of_finite_differences(case):
    y, p = draw(8, seed=3)
    p = p.astype("float64")
    with float64():
        found = gradient(lambda p: ops.sum(case.function(tensor(y), p, **case.options)), tensor(p))
    expected = finite_differences(lambda p: case.reference(y, p).sum(), p)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def compiled(case, **options):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, kernel_initializer="identity")])
    model.compile("sgd", case.make(), **options)
    return model


@by_case
def test_trains_and_saves_in_a_compiled_model(case, tmp_path):
    y, p = draw()
    model, expected = compiled(case), case.reference(y, p).mean()
    np.testing.assert_allclose(float(model.evaluate(p, y, verbose=0)), expected, **CLOSE)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(float(again.evaluate(p, y, verbose=0)), expected, **CLOSE)
    history = model.fit(p, y, batch_size=5, epochs=2, verbose=0).history["loss"]  # batches of 5 and of 4
    assert np.isfinite(history).all()
    assert np.isfinite(model.get_weights()[0]).all()


@pytest.mark.default_backend_only
@pytest.mark.parametrize(
    "case", [c for c in BATCH_CASES if set(c.options) <= {"mining"}], ids=lambda c: c.name
)
def test_trains_through_the_compiler_of_tensorflow(case):
    y, p = draw()
    model = compiled(case, jit_compile=True)
    found = float(model.evaluate(p, y, verbose=0))
    np.testing.assert_allclose(found, case.reference(y, p).mean(), **CLOSE)
    model.fit(p, y, batch_size=9, verbose=0)
    assert np.isfinite(model.get_weights()[0]).all()


@by_case
@pytest.mark.parametrize(
    ("labels", "shape", "message"),
    [
        ((4,), (5, 3), r"`y_true` of \w+ must have one label for each row of `y_pred`.*\(4,\).*\(5, 3\)"),
        ((5, 2), (4, 3), r"`y_true` of \w+ must have one label for each row"),
        ((5, 1, 1), (5, 3), r"`y_true` of \w+ must be class ids of shape .*Received: shape \(5, 1, 1\)"),
        ((), (5, 3), r"`y_true` of \w+ must be class ids of shape .*Received: shape \(\)"),
        ((5,), (5,), r"`y_pred` of \w+ must be embeddings.*\(batch, features\).*\(5,\).*Flatten"),
        ((5,), (5, 2, 3), r"`y_pred` of \w+ must be embeddings.*\(5, 2, 3\).*pooling"),
    ],
)
def test_shapes_that_do_not_fit(case, labels, shape, message):
    with pytest.raises(ValueError, match=message):
        case.function(np.zeros(labels, "int32"), np.zeros(shape, "float32"), **case.options)


@by_case
@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0.5, 1.0, 2.0], "`y_true` of .* must hold integer class ids.*from 0.5 to 2 that are not integers"),
        ([0, 1, float("nan")], "`y_true` of .* must hold integer class ids"),
        (
            [0, 1, 2.0**24],
            "below 16777216 if .* float.*: 16777216. Pass them as integers. Number the classes",
        ),
        ([0, 1, 2**31], "class ids below 2147483648 if .* int64.*: 2147483648. Number the classes from 0"),
        ([[0.2, 0.8], [1.0, 0.0], [0.0, 1.0]], "`y_true` of .* must be one-hot.*Pass integer class ids"),
        ([[1, 1], [1, 0], [0, 1]], "must be one-hot, a single 1 in each row.*sums from 1 to 2"),
        ([[0, 0], [1, 0], [2, 1]], "must be one-hot.*zeros without a label.*sums from 0 to 3"),
    ],
)
def test_labels_that_are_no_classes(case, y, message):
    with pytest.raises(ValueError, match=message):
        case.make()(np.array(y), np.ones((3, 2), "float32"))
