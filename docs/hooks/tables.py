"""Tables that fit on a phone: long names in code may break, numbers may not."""

import re

TABLE = re.compile(r"<table>.*?</table>", re.DOTALL)
CODE = re.compile(r"(<code>)(.*?)(</code>)", re.DOTALL)
# After a mark inside a name, but not after a decimal point; and before a capital letter.
BREAK = re.compile(r"(?<=[(,=_/])(?=[^\s<)])|(?<=\D\.)(?=[^\s<)])|(?<=[a-z])(?=[A-Z])")
TAG = re.compile(r"(<code>.*?</code>|<[^>]+>)", re.DOTALL)
EXPONENT = re.compile(r"[-−]?\d[\d.]*e[-+]\d+")
RANGE = re.compile(r"\d[\d.,]*\s?%? (?:to|±) \d+(?:[.,]\d+)*(?:\s?%)?")


def on_page_content(page_html, /, **_):
    """Mark where a name may break, and which numbers may not."""
    return TABLE.sub(lambda table: _marked(table[0]), page_html)


def _marked(table):
    return "".join(
        _code(part) if part.startswith("<code>") else part if part.startswith("<") else _numbers(part)
        for part in TAG.split(table)
    )


def _code(part):
    return CODE.sub(lambda code: code[1] + BREAK.sub("<wbr>", code[2]) + code[3], part)


def _numbers(text):
    return RANGE.sub(
        r'<span class="range">\g<0></span>', EXPONENT.sub(r'<span class="number">\g<0></span>', text)
    )
