"""The tables of `docs/benchmarks.md` are those of `docs/benchmarks.json`."""

import json
import re

import pytest

from tests.support.helpers import ROOT

pytestmark = pytest.mark.default_backend_only


def test_the_tables_are_those_of_the_record():
    pytest.importorskip("matplotlib")
    from benchmarks import __main__ as benchmarks

    page = (ROOT / "docs" / "benchmarks.md").read_text()
    found = benchmarks.tables(json.loads((ROOT / "docs" / "benchmarks.json").read_text()))
    assert set(found) == set(re.findall(r"<!-- (?!end)(\S+) -->", page))
    assert benchmarks.filled(page, found) == page
