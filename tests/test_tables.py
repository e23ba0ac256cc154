"""The tables of the site: where a long name may break, and which numbers may not."""

import runpy

import pytest

from tests.support.helpers import ROOT

pytestmark = [pytest.mark.default_backend_only, pytest.mark.every_case]
mark = runpy.run_path(str(ROOT / "docs" / "hooks" / "tables.py"))["on_page_content"]
audit = runpy.run_path(str(ROOT / "docs" / "hooks" / "audits.py"))["on_page_content"]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (
            "<code>kp.losses.NTXent(temperature=0.1)</code>",
            "<code>kp.<wbr>losses.<wbr>NTXent(<wbr>temperature=<wbr>0.1)</code>",
        ),
        (
            "<code>entropy(a &lt; BigName_b)()</code>",
            "<code>entropy(<wbr>a &lt; Big<wbr>Name_<wbr>b)()</code>",
        ),
        ("2.3e-07", '<span class="number">2.3e-07</span>'),
        ("0.91 to 0.99, then 0.58 ± 0.01", None),
        ('<a href="a.html#b_to_c">NTXent</a>', '<a href="a.html#b_to_c">NTXent</a>'),
    ],
)
def test_a_cell(cell, expected):
    if expected is None:
        expected = '<span class="range">0.91 to 0.99</span>, then <span class="range">0.58 ± 0.01</span>'
    assert mark(f"<table><td>{cell}</td></table>") == f"<table><td>{expected}</td></table>"
    assert mark(f"<p>{cell}</p>") == f"<p>{cell}</p>"


def test_only_an_audit_gets_the_class_of_audits():
    block = '<div class="language-text highlight"><pre><span></span><code>{}</code></pre></div>'
    page = block.format("epoch 1\nPenalties of 'a'") + block.format("epoch 1")
    assert [part.count(" audit") for part in audit(page).split("</div>")] == [1, 0, 0]
