"""Every penalty that compares several tensors: its formula, masks, precision, gradients, file and errors."""

import json

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.contracts_pairs import SEVERAL_TENSORS
from tests.support import references_pairs as references
from tests.support.helpers import dtype_of, finite_differences, float64, tensor, to_numpy

R = kp.regularizers
by_case = pytest.mark.parametrize("case", SEVERAL_TENSORS, ids=lambda case: case.name)
KINDS = {
    "zeros": lambda random, shape: np.zeros(shape),
    "ones": lambda random, shape: np.ones(shape),
    "tiny": lambda random, shape: np.full(shape, 1e-30),
    "equal rows": lambda random, shape: np.broadcast_to(np.linspace(0.1, 0.9, shape[-1]), shape),
    "constant columns": lambda random, shape: np.where(
        np.arange(shape[-1]) % 2, 0.1, random.normal(size=shape)
    ),
}


@by_case
@pytest.mark.every_case
@pytest.mark.parametrize("shape", [(6,), (7, 3), (3, 7), (1, 4), (4, 3, 2), (2, 2, 3, 2)])
def test_is_its_formula(case, shape):
    xs = case.draw(shape)
    np.testing.assert_allclose(case.measured(xs), case.reference(xs), rtol=2e-5, atol=1e-6)


@by_case
def test_batches_of_other_lengths(case):
    xs = [*case.draw((5, 3))[:-1], case.draw((8, 3), seed=1)[-1]]
    if case.paired:
        with pytest.raises(ValueError, match=rf"{case.cls.__name__} compares the \w+ of its tensors"):
            case.make().measure(xs)
    else:
        np.testing.assert_allclose(float(case.make().measure(xs)), case.reference(xs), rtol=2e-5, atol=1e-6)


@by_case
def test_masked_equals_trimmed(case):
    for seed in range(5):
        random = np.random.default_rng(seed)
        xs = case.draw((4, 5, 3), seed)
        masks = [random.uniform(size=(4, 5)) < 0.6 for _ in xs]
        masks[1] = None if seed == 4 else masks[1]
        for x, mask in zip(xs, masks, strict=True):
            if mask is not None:
                x[~mask] = np.nan
        np.testing.assert_allclose(case.measured(xs, masks), case.reference(xs, masks), rtol=1e-4, atol=1e-5)


@by_case
@pytest.mark.parametrize("masked", [0, 1])
def test_what_the_mask_of_one_tensor_drops_may_be_anything_in_the_others(case, masked):
    if not case.paired:
        pytest.skip("each tensor has rows of its own")
    xs, mask = case.draw((4, 5, 3)), np.random.default_rng(0).uniform(size=(4, 5)) < 0.6
    masks = [mask if i == masked else None for i in range(case.count)]
    expected = case.reference(xs, masks)
    for x in xs:
        x[~mask] = np.nan
    np.testing.assert_allclose(case.measured(xs, masks), expected, rtol=1e-4, atol=1e-5)
    for i in case.reached:
        slope = case.slope(i, xs, masks)
        assert np.all(np.isfinite(slope)) and np.all(slope[~mask] == 0.0)


@by_case
def test_a_mask_that_keeps_nothing_gives_zero(case):
    xs, masks = case.draw((4, 3)), [np.zeros(4, bool)] * case.count
    assert case.measured(xs, masks) == 0.0
    for i in case.reached:
        assert np.all(case.slope(i, xs, masks) == 0.0)


def _with(xs, i, x):
    return [x if k == i else other for k, other in enumerate(xs)]


@by_case
@pytest.mark.every_case
@pytest.mark.parametrize("shape", [(6, 3), (3, 5)])
def test_gradient_is_that_of_finite_differences(case, shape):
    xs = case.draw(shape, dtype="float64")
    for i in case.reached:
        with float64():
            found = case.slope(i, xs)
        numeric = finite_differences(lambda x, i=i: case.reference(_with(xs, i, x)), xs[i])
        np.testing.assert_allclose(found, numeric, rtol=1e-5, atol=1e-7)


@by_case
@pytest.mark.parametrize("kind", KINDS)
def test_degenerate_inputs_are_finite(case, kind):
    for shape in ((1, 4), (4, 3), (3, 5)):
        random = np.random.default_rng(0)
        xs = [np.asarray(KINDS[kind](random, case.fit(shape)), "float32") for _ in range(case.count)]
        np.testing.assert_allclose(
            case.measured(xs), case.reference(xs), rtol=1e-3, atol=1e-4, err_msg=str(shape)
        )
        for i in case.reached:
            assert np.all(np.isfinite(case.slope(i, xs))), shape


@by_case
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(case, dtype):
    scale = 300.0 if case.large else 1.0
    xs = [tensor(scale * x, dtype) for x in case.draw((6, 4))]
    value = case.make().measure(xs)
    assert dtype_of(value) == "float32"
    np.testing.assert_allclose(float(value), case.reference([to_numpy(x) for x in xs]), rtol=2e-4, atol=1e-6)


@by_case
def test_the_order_of_the_batch_does_not_matter(case):
    xs = case.draw((6, 3))
    order = np.random.default_rng(1).permutation(6)
    np.testing.assert_allclose(
        float(case.make().measure([x[order] for x in xs])),
        float(case.make().measure(xs)),
        rtol=1e-5,
        atol=1e-6,
    )


@by_case
def test_goes_through_json(case):
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(case.make())))
    assert saved["registered_name"] == f"keras_penalties>{case.cls.__name__}"
    again = keras.saving.deserialize_keras_object(saved)
    assert again.get_config() == case.make().get_config()
    assert case.options.items() <= again.get_config().items()


@by_case
def test_by_layer_and_by_compiled_loss(case):
    xs = case.draw((6, 3))
    inputs = [keras.Input(x.shape[1:], name=f"in_{i}") for i, x in enumerate(xs)]
    if case.cls is not R.MMD:  # which takes one tensor too
        with pytest.raises(ValueError, match=f"{case.cls.__name__} compares {case.count} tensors"):
            case.make()(inputs[0])
    expected = 0.1 * case.reference(xs)
    layer = kp.layers.ActivityPenalty(case.make(), name="pair")(inputs)
    model = keras.Model(inputs, keras.layers.Add()(layer))
    model.compile("sgd", "mse")
    logs = model.evaluate(xs, sum(xs), verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["pair"], expected, rtol=1e-4, atol=1e-6)
    names = ["u", "v", "w"][: case.count]
    hidden = [keras.layers.Identity(name=name)(x) for name, x in zip(names, inputs, strict=True)]
    model = kp.models.HiddenOutputs(keras.Model(inputs, keras.layers.Add()(hidden)), hidden=names)
    model.compile("sgd", "mse", hidden_losses={tuple(names): case.make()})
    logs = model.evaluate(xs, sum(xs), verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["_".join([*names, "loss"])], expected, rtol=1e-4, atol=1e-6)


@by_case
def test_other_features_are_refused_where_they_cannot_be_compared(case):
    xs = [*case.draw((5, 3))[:-1], case.draw((5, 4))[-1]]
    if not case.same_features:
        np.testing.assert_allclose(float(case.make().measure(xs)), case.reference(xs), rtol=2e-5)
        return
    with pytest.raises(ValueError, match=rf"{case.cls.__name__} compares .*Received"):
        case.make().measure(xs)


def test_every_penalty_of_several_tensors_has_a_case():
    exported = {getattr(R, name) for name in R.__all__}
    several = {c for c in exported if c.tensors != 1}
    assert several == {case.cls for case in SEVERAL_TENSORS}


def test_gaussian_kl_of_codes_that_are_normal_is_zero():
    assert float(R.GaussianKL(1.0).measure(np.zeros((2, 5, 3), "float32").tolist())) == 0.0
    assert references.gaussian_kl([np.zeros((5, 3))] * 2) == 0.0
