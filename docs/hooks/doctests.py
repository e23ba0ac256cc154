"""What docstrings hold that Markdown does not know: doctests, titles, and the arguments of a call."""

import re

import griffe

DOCTEST = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)
FLAG = re.compile(r"[ \t]*# doctest: \+\w+$", re.MULTILINE)
CALL = re.compile(r"^Call arguments:\n(?:[ ]{4}.*\n?)+", re.MULTILINE)
ARGUMENT = re.compile(r"^[ ]{4}(\w+): ", re.MULTILINE)
# The sections that mkdocstrings does not know, set as it sets the title of those that it knows.
TITLE = re.compile(
    r"^(Call arguments|Example|Shapes|Memory|Keras|The verdicts|Source):(?=[ \n])", re.MULTILINE
)


class Doctests(griffe.Extension):
    """Put a fence around each doctest, so that it can be copied; give each section a title of one style."""

    def on_instance(self, *, obj, **_):
        if obj.docstring is not None and not obj.is_alias:
            text = DOCTEST.sub(r"```pycon\n\g<0>\n```", FLAG.sub("", obj.docstring.value))
            text = CALL.sub(_listed, text)
            obj.docstring.value = TITLE.sub(r'<span class="doc-section-title">\g<0></span>', text)


def _listed(call):
    title, _, arguments = call[0].partition("\n")
    arguments = re.sub(r"^    (?=    )", "  ", arguments, flags=re.MULTILINE)
    listed = ARGUMENT.sub(r"- <b>`\1`</b> – ", arguments)
    return f"{title}\n\n{listed}"
