"""What a subclass of a penalty defines is used by each way of attaching it, or refused with its class."""

import warnings

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from tests.contracts import PENALTIES
from tests.contracts_pairs import SEVERAL_TENSORS

R = kp.regularizers
EXPORTED = {getattr(R, name) for name in R.__all__}
CASES = {case.cls: case for case in [*PENALTIES, *SEVERAL_TENSORS][::-1] if case.cls in EXPORTED}
FORMULAS = ["value", "examples", "elements", "statistic"]
# What a penalty needs before anything is measured, and to be saved.
NOT_MEASURED = {"get_config", "from_config"}


class Called(Exception):
    pass


def overridden(cls, name):
    """A subclass of `cls` whose `name` says that it is called."""

    def method(self, *args, **kwargs):
        raise Called(name)

    return type("Overridden", (cls,), {name: method})


def methods(cls):
    """The names of the methods of `cls`, and of those that other penalties have for a formula."""
    bases = cls.__mro__[: cls.__mro__.index(R.Penalty) + 1]
    own = {name for base in bases for name, value in vars(base).items() if callable(value)}
    return sorted({*own, *FORMULAS, "__call__"} - NOT_MEASURED - {"__init__", "__init_subclass__"})


def measured(penalty, tensors, way):
    x = tensors if len(tensors) > 1 else tensors[0]
    if way == "measure":
        penalty.measure(x)
    elif way == "layer":
        kp.layers.ActivityPenalty(penalty)(x)
    else:
        keras.layers.Activation("linear", activity_regularizer=penalty)(x)


def tensors_for(case):
    if case in SEVERAL_TENSORS:
        return case.draw((4, 3))
    return [ops.convert_to_tensor(case.draw((4, 3)))]


@pytest.mark.parametrize("cls", CASES, ids=lambda cls: cls.__name__)
def test_each_method_is_used_by_each_way_or_refused(cls):
    case, refused = CASES[cls], []
    tensors = tensors_for(case)
    for name in methods(cls):
        try:
            made = overridden(cls, name)
        except TypeError as error:
            assert "Overridden" in str(error) and f"`{name}`" in str(error)
            refused.append(name)
            continue
        ways = ("measure", "layer") if len(tensors) > 1 else case.ways(("measure", "layer", "argument"))
        for way in ways:
            with warnings.catch_warnings(), pytest.raises(Called, match=name):
                warnings.simplefilter("ignore")
                measured(
                    made(**{**case.options, **getattr(case, "strengths", {"strength": 0.1})}), tensors, way
                )
    assert {"measure", "__call__", "validate"} <= set(refused)
    # One formula is left, the one in `value` around it, and what is between them.
    assert "value" not in refused
    assert len(set(FORMULAS) - set(refused)) <= 3


def refusal(base, **members):
    with pytest.raises(TypeError) as caught:
        type("Quartic", (base,), members)
    return str(caught.value)


def method(self, *args):
    return ops.sum(args[0])


@pytest.mark.parametrize("name", ["measure", "__call__", "validate", "measured_parts"])
def test_the_message_says_what_to_give(name):
    assert "Quartic cannot define `" + name in refusal(R.Penalty, **{name: method})
    for base, formula in (
        (R.Penalty, "in `value(x, mask)`, or subclass `PerExamplePenalty` and define `elements(x)`"),
        (R.PerExamplePenalty, "Define the formula in `elements(x)` or `examples(x, mask)`."),
        (R.BatchStatisticPenalty, "Define the formula in `statistic(rows, weights)`."),
        (R.L2, "The formula of L2 is in `elements(x)`: override that method."),
        (R.DeCov, "The formula of DeCov is in `statistic(rows, weights)`: override that method."),
        (R.Hoyer, "The formula of Hoyer is in `examples(x, mask)`: override that method."),
        (R.GaussianKL, "The formula of GaussianKL is in `value(x, mask)`: override that method."),
    ):
        assert formula in refusal(base, **{name: method}), base


def test_a_formula_of_another_family():
    for base, name in (
        (R.Penalty, "elements"),
        (R.Penalty, "statistic"),
        (R.PerExamplePenalty, "statistic"),
        (R.BatchStatisticPenalty, "elements"),
        (R.BatchStatisticPenalty, "examples"),
        (R.L2, "statistic"),
        (R.Hoyer, "elements"),
        (R.GaussianKL, "elements"),
        (R.Entropy, "elements"),
    ):
        assert f"`{name}` of Quartic is never called." in refusal(base, **{name: method})


def test_a_helper_by_the_name_of_another_formula():
    class Helped(R.BatchStatisticPenalty):
        def elements(self, rows):
            return rows**2

        def statistic(self, rows, weights):
            return ops.sum(self.elements(rows) * weights[:, None])

    with pytest.warns(UserWarning, match="not registered"):
        np.testing.assert_allclose(float(Helped(1.0).measure([[1.0, 2.0]])), 5.0)


def test_a_base_of_ones_own_with_a_formula_of_its_own():
    class Base(R.Penalty):
        def value(self, x, mask):
            return ops.sum(self.elements(x))

    class Quartic(Base):
        def elements(self, x):
            return x**4

    with pytest.warns(UserWarning, match="not registered"):
        np.testing.assert_allclose(float(Quartic(1.0).measure([[1.0, 2.0]])), 17.0)


def test_a_mixin_that_overrides_is_refused_too():
    class Mixin:
        def measure(self, x, mask=None):
            return 0.0

    with pytest.raises(TypeError, match="Both cannot define `measure`"):

        class Both(Mixin, R.L2):
            pass


def test_a_name_that_the_package_uses():
    words = refusal(R.PerExamplePenalty, _size=method, elements=method)
    assert words.startswith("Quartic cannot define `_size`. ")
    assert words.endswith("PerExamplePenalty has a method of that name: choose another name.")


def test_a_formula_may_be_extended():
    class Twice(R.L2):
        def elements(self, x):
            return 2 * super().elements(x)

    class Doubled(R.L2):
        def value(self, x, mask):
            return 2 * super().value(x, mask)

    for cls in (Twice, Doubled):
        with pytest.warns(UserWarning, match="not registered"):
            np.testing.assert_allclose(float(cls(1.0).measure([[1.0, 2.0]])), 10.0)
