"""The page of `audit` lists all of its verdicts."""

import re

import pytest

import keras_penalties as kp
from tests.support.helpers import ROOT

pytestmark = pytest.mark.default_backend_only


def test_each_verdict_has_a_row():
    verdicts = re.findall(r"\*([^*]+)\*", kp.audit.__doc__.split("The verdicts:")[1].split("Example:")[0])
    verdicts = [" ".join(verdict.lower().split()).replace("2 times", "n times") for verdict in verdicts]
    assert len(verdicts) > 18
    first_cells = "\n".join(
        re.findall(r"^\| ([^|]+) \|", (ROOT / "docs/see-what-it-does.md").read_text(), re.MULTILINE)
    )
    assert [verdict for verdict in verdicts if verdict not in first_cells.lower()] == []
