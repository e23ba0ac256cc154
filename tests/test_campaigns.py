"""The campaigns, which are run by hand, fit the code as it is."""

import pytest

from tests.campaigns.mutations import MUTATIONS, ROOT


@pytest.mark.default_backend_only
@pytest.mark.every_case
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation[0])
def test_a_line_that_is_broken_on_purpose_is_there(mutation):
    _, file, line, broken, *_ = mutation
    text = (ROOT / "keras_penalties" / file).read_text()
    assert text.count(line) == 1
    assert line != broken
