"""What the docstrings hold that Markdown does not know: doctests, and the arguments of a layer's call."""

import re

import griffe

DOCTEST = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)
FLAG = re.compile(r"[ \t]*# doctest: \+\w+$", re.MULTILINE)
CALL = re.compile(r"^Call arguments:\n(?:[ ]{4}.*\n?)+", re.MULTILINE)
ARGUMENT = re.compile(r"^[ ]{4}(\w+): ", re.MULTILINE)


class Doctests(griffe.Extension):
    """Put a fence around each doctest, so that it can be copied; make the arguments of a call a list."""

    def on_instance(self, *, obj, **_):
        if obj.docstring is not None and not obj.is_alias:
            text = DOCTEST.sub(r"```pycon\n\g<0>\n```", FLAG.sub("", obj.docstring.value))
            obj.docstring.value = CALL.sub(lambda call: ARGUMENT.sub(r"    - **`\1`** – ", call[0]), text)
