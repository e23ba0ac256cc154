"""How docstrings have to be written so that the site shows them as they are meant."""

import ast
import inspect
import re

import pytest

from tests.test_layout import FILES, PACKAGE

pytestmark = pytest.mark.every_case  # each takes milliseconds

# The characters of a line of code that a page shows on a screen of 1,300 pixels.
WIDTH = 88
EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)
FLAG = re.compile(r"\s*# doctest: .*")
# What Markdown takes for a quotation or a heading, although the sentence goes on.
MARK = re.compile(r"^\s*(>(?!>>)|#)")
RETURNS = re.compile(r"^Returns:\n\s+(.*)", re.MULTILINE)
by_file = pytest.mark.parametrize("file", FILES, ids=lambda f: f.relative_to(PACKAGE).as_posix())


def docstrings(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            yield inspect.cleandoc(ast.get_docstring(node) or "")


@by_file
def test_examples_are_not_cut(file):
    """A comment that makes a line too long goes on a line above it."""
    for text in docstrings(file):
        for example in EXAMPLE.findall(text):
            assert [line for line in example.split("\n") if len(FLAG.sub("", line)) > WIDTH] == []


@by_file
def test_no_line_begins_with_a_mark_of_markdown(file):
    for text in docstrings(file):
        prose = re.sub(r"\$\$.*?\$\$", "", EXAMPLE.sub("", text), flags=re.DOTALL)
        assert [line for line in prose.split("\n") if MARK.match(line)] == []


@by_file
def test_what_is_returned_is_a_sentence(file):
    """The site takes what is before a colon in the first line for a type."""
    for text in docstrings(file):
        assert [line for line in RETURNS.findall(text) if ":" in line] == []


def test_docstrings_are_found():
    found = [text for file in FILES for text in docstrings(file)]
    assert sum(bool(EXAMPLE.search(text)) for text in found) > 50
    assert sum(bool(RETURNS.search(text)) for text in found) > 5
