"""Formulas become MathML when the site is built, so that a page loads no script to draw them."""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>([.,;:)]*)', re.DOTALL)


def on_page_content(page_html, /, **_):
    """Replace what `pymdownx.arithmatex` has marked as LaTeX."""
    return FORMULA.sub(_mathml, page_html)


def _mathml(match):
    latex = html.unescape(match[3]).strip()
    if match[2] == "(":
        return f'<span class="formula-inline">{convert(latex)}{match[4]}</span>'
    # A formula that is wider than the screen scrolls in its box.
    return f'<div class="formula">{convert(latex, display="block")}</div>{match[4]}'
