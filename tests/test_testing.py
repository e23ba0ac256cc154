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
from tests.support.broken_penalties import WRONG, HalfOfAGradient, MeanOfAll, MeanOfSteps
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
