"""Formulas become MathML when the site is built, so that a page loads no script to draw them."""

import html
import re

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def on_page_content(page_html, /, **_):
    """Replace what `pymdownx.arithmatex` has marked as LaTeX."""
    return FORMULA.sub(_mathml, page_html)


def _mathml(match):
    display = "block" if match[2] == "[" else "inline"
    return convert(html.unescape(match[3]).strip(), display=display)
