"""The formulas of the site: what its build makes of the LaTeX in docstrings and pages."""

import inspect
import re
import runpy
import xml.etree.ElementTree as ElementTree

import pytest

from tests.support.helpers import ROOT
from tests.test_public_api import CLASSES

pytest.importorskip("latex2mathml")
pytestmark = [pytest.mark.default_backend_only, pytest.mark.every_case]  # each takes a millisecond

mathml = runpy.run_path(str(ROOT / "docs" / "hooks" / "mathml.py"))["mathml"]

TEXTS = [inspect.getdoc(cls) for cls in CLASSES]
TEXTS += [page.read_text() for page in sorted(ROOT.glob("docs/**/*.md"))]
FORMULAS = [formula for text in TEXTS for formula in re.findall(r"\$\$(.+?)\$\$", text, re.DOTALL)]
INLINE = [formula for text in TEXTS for formula in re.findall(r"\\\((.+?)\\\)", text, re.DOTALL)]
SCRIPTS = ("msub", "msup", "msubsup")


def parts(latex, display):
    return [ElementTree.fromstring(part) for part in mathml(latex, display)]


def test_there_are_formulas():
    assert len(FORMULAS) > 50
    assert len(INLINE) > 50


@pytest.mark.parametrize("display", ["block", "inline"])
def test_each_formula_is_set_right(display):
    """Names are upright operators, a script is on all between two fences, fences come in pairs."""
    for latex in FORMULAS if display == "block" else INLINE:
        for math in parts(latex, display):
            for element in math.iter():
                text = element.text or ""
                assert element.tag != "mi" or not re.fullmatch("[A-Za-z]{2,}", text), f"{text} in {latex}"
                if element.tag in SCRIPTS:
                    assert element[0].text not in [*"()[]|‖"], f"a script is on a fence alone in {latex}"
                if element.tag == "mo" and text in [*"|‖"]:
                    assert element.get("form") in ("prefix", "postfix"), f"a bar without a pair in {latex}"


@pytest.mark.parametrize("latex", FORMULAS, ids=lambda latex: " ".join(latex.split())[:30])
def test_no_minus_before_a_negative_sum(latex):
    assert not re.search(r"\\sum_\w+\s*-|-\s*\\sum_\w+\s*-", latex)


def test_a_formula_and_its_definitions_are_separate():
    first, second = parts(r"x + y,\qquad y = \frac{1}{2}", "block")
    assert "".join(first.itertext()) == "x+y,"
    assert "".join(second.itertext()) == "y=12"


def test_bars():
    (math,) = parts(r"\max(|a|, |b|)^2 + \lVert c\rVert_2^2\,\lVert d\rVert_1", "block")
    bases = {tag: ["".join(element[0].itertext()) for element in math.iter(tag)] for tag in SCRIPTS}
    assert bases == {"msup": ["(|a|,|b|)"], "msubsup": ["‖c‖"], "msub": ["‖d‖"]}


def test_limits_are_below_sums():
    (math,) = parts(r"\sum_n \left(\log\sum_k e^{x_{nk}}\right)^2", "block")
    assert ["".join(element.itertext()) for element in math.iter("munder")] == ["∑n", "∑k"]


def test_space_around_names():
    (math,) = parts(r"p\log q + \exp(x)", "block")
    log, exp = (element for element in math.iter("mo") if len(element.text) == 3)
    assert (log.get("lspace"), log.get("rspace")) == ("0.167em", "0.167em")
    assert (exp.get("lspace"), exp.get("rspace")) == ("0", "0")


def test_a_sign_is_close_to_its_term():
    (math,) = parts(r"x = -\max(-1, -y) - z", "block")
    signs = [element.get("form") for element in math.iter("mo") if element.text == "−"]
    assert signs == ["prefix", "prefix", "prefix", None]
