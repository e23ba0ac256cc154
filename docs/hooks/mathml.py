"""Formulas become MathML when the site is built, so that a page loads no script to draw them."""

import html
import re
import xml.etree.ElementTree as ElementTree

from latex2mathml.converter import convert

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>([.,;:)]*)', re.DOTALL)
XMLNS = ' xmlns="http://www.w3.org/1998/Math/MathML"'
# What latex2mathml puts around children that form a row.
ROWS = ("mrow", "mtd")
SCRIPTS = ("msub", "msup", "msubsup", "munder", "mover", "munderover")
BELOW = {"msub": "munder", "msubsup": "munderover"}
NAME = re.compile(r"(?!mod$)[A-Za-z]{2,}")  # `mod` stands between two operands, as + does
LIMITS = ("∑", "min", "max", "mean")
OPENING, CLOSING, BARS = "([{", ")]}", "|‖"
SIGNS = "+−"
GAP = re.compile(r"[12]em")  # \quad and \qquad, around what is a formula of its own
THIN = "0.167em"


def on_page_content(page_html, /, **_):
    """Replace what `pymdownx.arithmatex` has marked as LaTeX."""
    return FORMULA.sub(_replaced, page_html)


def _replaced(match):
    latex = html.unescape(match[3]).strip()
    if match[2] == "(":
        return f'<span class="formula-inline">{mathml(latex)[0]}{match[4]}</span>'
    # The formulas of one block stand side by side, or below each other on a narrow screen.
    return f'<div class="formula">{" ".join(mathml(latex, display="block"))}</div>{match[4]}'


def mathml(latex, display="inline") -> list:
    """The MathML of a formula, or of each formula between gaps."""
    math = ElementTree.fromstring(convert(latex, display=display).replace(XMLNS, ""))
    (row,) = math
    _tidy(row, display == "block")
    for element in row.iter():
        if element.tag in ROWS:
            _space(element)
    parts = _parts(row) if display == "block" else [row]
    found = []
    for part in parts:
        math[:] = [part]
        found.append(ElementTree.tostring(math, encoding="unicode"))
    return found


def _tidy(element, display):
    """Names upright, limits below what they belong to, scripts on all that is between two fences."""
    if NAME.fullmatch(element.text or "") and element.tag == "mi":
        element.tag = "mo"
    if display and element.tag in BELOW and element[0].text in LIMITS:
        element.tag = BELOW[element.tag]
    for place, child in enumerate(element):
        _tidy(child, display and (element.tag in ROWS or (element.tag in SCRIPTS and place == 0)))
    if element.tag in ROWS:
        _group_fences(element)


def _group_fences(row):
    """Put what is between two fences into a row, with the scripts of the second fence on that row."""
    found, opened = [], []  # `opened` holds where fences are in `found`
    for child in row:
        fence = _core(child)
        text = fence.text if fence.tag == "mo" else None
        closes = opened and (text == _core(found[opened[-1]]).text if text in [*BARS] else text in [*CLOSING])
        if closes:
            start = opened.pop()
            found[start].set("form", "prefix")
            fence.set("form", "postfix")
            group = ElementTree.Element("mrow")
            group.extend([*found[start:], fence])
            del found[start:]
            if child is fence:
                child = group
            else:
                child[0] = group
        elif text in [*OPENING, *BARS]:
            opened.append(len(found))
        found.append(child)
    row[:] = found


def _space(row):
    """Thin spaces around names of functions, except at operators and brackets, and none after a sign."""
    for before, child, after in zip([None, *row], row, [*row[1:], None], strict=False):
        operator = _core(child)
        if operator.tag != "mo":
            continue
        first = before is None or _core(before).tag in ("mo", "mspace")
        if NAME.fullmatch(operator.text or ""):
            last = after is None or _core(after).tag in ("mspace", "mtext") or _is_bracket(after)
            operator.set("form", "prefix")
            operator.set("lspace", "0" if first and not _is_name(before) else THIN)
            operator.set("rspace", "0" if last else THIN)
        elif operator.text in [*SIGNS] and first:
            operator.set("form", "prefix")


def _is_name(element):
    return element is not None and bool(NAME.fullmatch(_core(element).text or ""))


def _is_bracket(element):
    """Whether it begins with a bracket: a name of a function is close to that, and not to a bar."""
    first = _core(element)
    while first.tag in ROWS and len(first):
        first = _core(first[0])
    return first.tag == "mo" and (first.text or "") in [*OPENING]


def _core(element):
    """What the scripts of an element are on."""
    return element[0] if element.tag in SCRIPTS else element


def _parts(row) -> list:
    parts = [ElementTree.Element("mrow")]
    for child in row:
        if child.tag == "mspace" and GAP.fullmatch(child.get("width")):
            parts.append(ElementTree.Element("mrow"))
        else:
            parts[-1].append(child)
    return parts
