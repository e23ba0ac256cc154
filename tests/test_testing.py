"""`check_penalty` accepts every penalty of the package, and names the rule that a wrong penalty breaks."""

import ast
import re
import sys
import types
import warnings

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from keras_penalties.testing._rules import RULES
from tests.contracts import PENALTIES
from tests.contracts_pairs import SEVERAL_TENSORS
from tests.support.helpers import BACKEND, ROOT
from tests.support.own_penalty import Total
from tests.test_docs import FENCE, blocks

BatchStatisticPenalty, PerExamplePenalty = (
    kp.regularizers.BatchStatisticPenalty,
    kp.regularizers.PerExamplePenalty,
)
CASES = list({case.cls: case for case in (*PENALTIES[::-1], *SEVERAL_TENSORS[::-1])}.values())
if BACKEND != "torch":  # where a class takes a tenth of a second, and a second or two elsewhere
    CASES = CASES[::5]
OWN_PENALTY = (ROOT / "docs" / "own-penalty.md").read_text()
register = keras.saving.register_keras_serializable(package="wrong")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_penalty_of_the_package_passes(case):
    skip = ["batch size"] if case.cls in (kp.regularizers.SIGReg, Total) else []  # sums by their formula
    kp.testing.check_penalty(case.make(), case.fit((6, 4)), skip=skip)


def test_one_that_learns_weights_passes():
    hint = kp.regularizers.Hint(0.1, projection=True)
    student, teacher = (np.random.default_rng(0).normal(size=(4, width)) for width in (2, 3))
    kp.testing.check_penalty(hint, inputs=[student, teacher])


def test_one_with_positions_and_a_schedule_passes():
    warm_up = keras.optimizers.schedules.PolynomialDecay(0.0, 10, 0.1)
    kp.testing.check_penalty(kp.regularizers.L2(warm_up), (3, 3, 2))


# Each of these breaks the rule under which it is listed, and none before it.


@register
class LogOfActivations(PerExamplePenalty):
    def elements(self, x):
        return ops.log(x)


@register
class Drawn(PerExamplePenalty):
    def elements(self, x):
        return ops.square(x) * keras.random.uniform(ops.shape(x), dtype=x.dtype)


@register
class InFloat32(PerExamplePenalty):
    def elements(self, x):
        return ops.square(ops.cast(x, "float32"))


@register
class SumOfExponentials(BatchStatisticPenalty):
    def statistic(self, rows, weights):
        return ops.sum(weights * ops.log(ops.sum(ops.exp(rows), axis=-1)))


@register
class MeanOfAll(kp.regularizers.Penalty):
    def value(self, x, mask):
        return ops.mean(ops.square(x))


@register
class Spread(BatchStatisticPenalty):
    """Dropped rows are zeros, and no longer after the mean was subtracted."""

    def statistic(self, rows, weights):
        rows = rows - ops.sum(rows * weights[:, None], axis=0)
        return ops.sum(ops.square(ops.transpose(rows) @ rows))


@register
class MeanDistance(kp.regularizers.Penalty):
    tensors = 2

    def value(self, x, mask):
        return ops.mean(ops.sum(ops.square(x[0] - x[1]), axis=-1))


@register
class MeanOfSteps(PerExamplePenalty):
    def examples(self, x, mask):
        return ops.mean(ops.square(x), axis=(1, 2))


@register
class SumOfAll(kp.regularizers.Penalty):
    def value(self, x, mask):
        return ops.sum(ops.square(x))


@register
class NormOfAll(kp.regularizers.Penalty):
    """Grows with the root of the batch."""

    def value(self, x, mask):
        total = ops.sum(ops.square(x))
        return ops.where(total > 0, ops.sqrt(ops.where(total > 0, total, 1.0)), 0.0)


@register
class TimesRows(BatchStatisticPenalty):
    def statistic(self, rows, weights):
        count = ops.sum(ops.cast(weights > 0, rows.dtype))
        return -count * ops.sum(ops.square(ops.sum(rows * weights[:, None], axis=0)))


@register
class AllPairs(BatchStatisticPenalty):
    def statistic(self, rows, weights):
        return ops.sum(ops.square(rows @ ops.transpose(rows)))


@register
class Length(PerExamplePenalty):
    """The gradient of a root is infinite at zero."""

    def examples(self, x, mask):
        return ops.sqrt(ops.sum(ops.square(x), axis=-1))


@register
class Standardized(BatchStatisticPenalty):
    """Divides by the deviation, which is zero for constant features."""

    def statistic(self, rows, weights):
        share = weights[:, None]
        rows = rows - ops.sum(rows * share, axis=0)
        deviation = ops.sqrt(ops.sum(share * ops.square(rows), axis=0))
        return ops.sum(share * (rows / deviation) ** 4)


@register
class NotQuiteConstant(BatchStatisticPenalty):
    """Compares a variance with 0, which rounding of the mean makes positive."""

    def statistic(self, rows, weights):
        share = weights[:, None]
        rows = ops.where(share > 0, rows - ops.sum(rows * share, axis=0), 0.0)
        variance = ops.sum(share * ops.square(rows), axis=0)
        deviation = ops.sqrt(ops.where(variance > 0, variance, 1.0))
        return ops.sum(share * ops.where(variance > 0, (rows / deviation) ** 4, 0.0))


@register
class Unbiased(BatchStatisticPenalty):
    """Divides by one row less."""

    def statistic(self, rows, weights):
        share = weights[:, None]
        squares = ops.square(rows - ops.sum(rows * share, axis=0))
        return ops.sum(share * squares) / (1.0 - ops.sum(ops.square(weights)))


@register
class DistanceOfTensors(PerExamplePenalty):
    tensors = 2

    def examples(self, x, mask):
        return ops.sqrt(ops.sum(ops.square(x[0] - x[1]), axis=-1))


@register
class HalfOfAGradient(PerExamplePenalty):
    def elements(self, x):
        return x * ops.stop_gradient(x)


@register
class Rounded(PerExamplePenalty):
    """Has no gradient, and no finite differences."""

    def elements(self, x):
        return ops.round(x)


@register
class CountOfLarge(PerExamplePenalty):
    def elements(self, x):
        return ops.cast(ops.abs(x) > 0.5, x.dtype)


@register
class Detached(PerExamplePenalty):
    tensors = 2

    def elements(self, x):
        return ops.sign(x[0]) * ops.stop_gradient(ops.sign(x[1]))


@register
class OtherName(PerExamplePenalty):
    def __init__(self, strength, power=4):
        super().__init__(strength)
        self._power = power

    def elements(self, x):
        return x**self._power


@register
class Changed(PerExamplePenalty):
    def __init__(self, strength, factor=2.0):
        super().__init__(strength)
        self.factor = 2.0 * factor

    def elements(self, x):
        return self.factor * ops.square(x)


class Loose(PerExamplePenalty):
    def elements(self, x):
        return ops.square(x)


@register
class WithStrength(PerExamplePenalty):
    def elements(self, x):
        return self.strength * ops.square(x)


@register
class ComparesSizes(PerExamplePenalty):
    def check_shapes(self, shapes):
        if shapes[0][0] < 1:
            raise ValueError("no rows")

    def elements(self, x):
        return ops.square(x)


@register
class OtherWeights(PerExamplePenalty):
    """Has as many weights as there were calls."""

    calls = 0

    def learned(self, shapes):
        OtherWeights.calls += 1
        return {"scale": {"shape": (OtherWeights.calls,), "initializer": "ones"}}

    def elements(self, x):
        return ops.square(x)


@register
class InPython(PerExamplePenalty):
    def elements(self, x):
        return ops.square(x) if float(ops.convert_to_numpy(ops.sum(x))) < 1e9 else x


WRONG = {
    "value": [LogOfActivations, Drawn],
    "float64": [InFloat32] if BACKEND == "tensorflow" else [],  # elsewhere `ops.mean` of Keras does the same
    "half precision": [SumOfExponentials],
    "mask": [MeanOfAll, Spread, MeanDistance],
    "padding": [MeanOfSteps],
    "batch size": [SumOfAll, NormOfAll, TimesRows, AllPairs],
    "finite": [Length, Standardized, Unbiased, DistanceOfTensors],
    "equal rows": [NotQuiteConstant],
    "gradient": [HalfOfAGradient, Rounded, CountOfLarge, Detached],
    "config": [OtherName, Changed, Loose],
    "strength": [WithStrength],
    "attaching": [ComparesSizes],
    "saving": [OtherWeights],
    "compiled": [InPython] if BACKEND == "tensorflow" else [],  # on torch nothing is compiled
}


@pytest.mark.every_case
@pytest.mark.filterwarnings("ignore:Loose is not registered")
@pytest.mark.parametrize(
    "rule, cls",
    [(rule, cls) for rule in WRONG for cls in WRONG[rule]],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_the_broken_rule_is_named(rule, cls):
    shape = (3, 4, 2) if cls is MeanOfSteps else (5, 3)
    with pytest.raises(AssertionError, match=f'{cls.__name__} breaks the rule "{rule}"'):
        kp.testing.check_penalty(cls(0.1), shape)


def test_each_rule_has_a_wrong_penalty():
    with pytest.raises(ValueError, match="must contain names of rules: " + ", ".join(map(repr, WRONG))):
        kp.testing.check_penalty(kp.regularizers.L2(0.1), skip=["speed"])


def test_the_message_says_what_came():
    x = np.array([[1.0], [2.0]])
    with pytest.raises(AssertionError) as caught:
        kp.testing.check_penalty(MeanOfAll(0.1), inputs=x)
    assert str(caught.value).split("\n")[:4] == [
        f'MeanOfAll breaks the rule "mask": {RULES["mask"].text}.',
        "Input: `inputs`, every third example dropped, float32 of shape (2, 1) with a mask of shape (2,)",
        "Expected: 1 (without the dropped examples)",
        "Received: 0.5",
    ]


@pytest.mark.parametrize("text", [kp.testing.check_penalty.__doc__, OWN_PENALTY], ids=["docstring", "page"])
def test_the_rules_are_listed(text):
    listed = re.findall(r'^ *\| `"(.+?)"` \| (.+) \|$', text, re.MULTILINE)
    assert listed == [(name, rule.text) for name, rule in RULES.items()]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "penalty",
    [kp.regularizers.DeCov(0.1), kp.regularizers.Hint(0.1)],
    ids=lambda penalty: type(penalty).__name__,
)
def test_a_project_may_turn_warnings_into_errors(penalty):
    kp.testing.check_penalty(penalty, (4, 3))


def test_warnings_of_the_formula_are_shown():
    @register
    class Warns(PerExamplePenalty):
        def elements(self, x):
            text = "__array__ implementation doesn't accept a copy keyword"
            warnings.warn(text, DeprecationWarning, stacklevel=1)
            return ops.square(x)

    with pytest.warns(DeprecationWarning, match="__array__"):
        kp.testing.check_penalty(Warns(0.1), (2, 2), skip=[name for name in RULES if name != "value"])


def test_an_error_of_the_formula_is_its_cause():
    @register
    class Fails(PerExamplePenalty):
        def elements(self, x):
            raise RuntimeError("no formula today")

    words = r"Received: RuntimeError: no formula today"
    with pytest.raises(AssertionError, match=words) as caught:
        kp.testing.check_penalty(Fails(0.1))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_rule_can_be_left_out():
    kp.testing.check_penalty(HalfOfAGradient(0.1), (3, 2), skip=["gradient"])


@register
class PassesOn(PerExamplePenalty):
    def __init__(self, strength, thresholds, **kwargs):
        super().__init__(strength, **kwargs)
        self.thresholds = thresholds

    def elements(self, x):
        return sum(ops.relu(ops.abs(x) - threshold) for threshold in self.thresholds)


@register
class SetsOne(PassesOn):
    def __init__(self, strength, **kwargs):
        super().__init__(strength, per="element", **kwargs)


@pytest.mark.parametrize(
    "make, expected",
    [
        (lambda: PassesOn(0.1, [0.1, 0.2]), {"thresholds": [0.1, 0.2]}),
        (lambda: PassesOn(0.1, [5.0], per="element"), {"thresholds": [5.0], "per": "element"}),
        (lambda: SetsOne(0.1, thresholds=[0.1]), {"thresholds": [0.1]}),
    ],
    ids=["none", "one", "one of its own"],
)
def test_an_init_that_passes_arguments_on(make, expected):
    """Those that it was given are saved. Large thresholds have no gradient for normal activations."""
    assert make().get_config() == {"strength": 0.1, **expected}
    kp.testing.check_penalty(make(), (3, 2))


def test_an_init_whose_positional_arguments_have_no_names():
    @register
    class Starred(PerExamplePenalty):
        def __init__(self, *args):
            super().__init__(*args)

        def elements(self, x):
            return ops.square(x)

    with pytest.raises(ValueError, match="Starred cannot be saved: its arguments args are not stored"):
        Starred(0.1).get_config()


def test_only_values_that_the_penalty_accepts_are_tried():
    @register
    class OfPositive(PerExamplePenalty):
        def refuse(self, x):
            if x.min() <= 0.0:
                raise ValueError("`x` of OfPositive must be positive.")

        def elements(self, x):
            return -ops.log(x)

    x = np.random.default_rng(0).uniform(1.0, 2.0, size=(4, 3))
    kp.testing.check_penalty(OfPositive(0.1), inputs=x, skip=["mask", "padding"])
    with pytest.raises(AssertionError, match='"value".*\n.*\n.*\n.*must be positive'):
        kp.testing.check_penalty(OfPositive(0.1))


@pytest.mark.parametrize(
    "penalty, options, words",
    [
        (kp.regularizers.L2, {}, "`penalty` of check_penalty must be an instance.*Received: .*L2"),
        (keras.regularizers.L2(), {}, "`penalty` of check_penalty must be an instance"),
        (kp.regularizers.TotalVariation(0.1), {}, re.escape("(8, 6)")),
        (
            kp.regularizers.L2(0.1),
            {"shape": (8,)},
            r"a batch axis and a features axis at least. Received: \(8,\)",
        ),
        (kp.regularizers.Hint(0.1), {"inputs": [np.ones((3, 2))]}, "compares 2 tensors"),
    ],
    ids=["a class", "of Keras", "too few axes", "one axis", "too few tensors"],
)
def test_wrong_arguments(penalty, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        kp.testing.check_penalty(penalty, **options)


def test_the_test_file_of_the_docs(monkeypatch):
    """Its classes are those of the page, and each of its tests passes."""
    defined = {}
    for _, code in blocks(OWN_PENALTY):
        kept = [
            node
            for node in ast.parse(code).body
            if isinstance(node, (ast.Import, ast.ImportFrom, ast.ClassDef))
        ]
        exec(compile(ast.Module(kept, []), "my_penalties.py", "exec"), defined)
    monkeypatch.setitem(sys.modules, "my_penalties", types.SimpleNamespace(**defined))
    file = {}
    (code,) = [found["code"] for found in FENCE.finditer(OWN_PENALTY) if "import pytest" in found["code"]]
    exec(code, file)
    file["test_value"]()
    for penalty in file["PENALTIES"]:
        file["test_rules"](penalty, (4, 3, 2))
