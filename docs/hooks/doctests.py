"""Lines of a docstring that begin with `>>>` are shown as code: Markdown alone would quote them."""

import re

import griffe

DOCTEST = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


class Doctests(griffe.Extension):
    """Put a fence around each doctest, without its prompts, so that it can be copied."""

    def on_instance(self, *, obj, **_):
        if obj.docstring is not None and not obj.is_alias:
            obj.docstring.value = DOCTEST.sub(r"```pycon\n\g<0>\n```", obj.docstring.value)
