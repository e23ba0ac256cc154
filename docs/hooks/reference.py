"""The reference without the dashes that mkdocstrings puts before what has neither a name nor a type."""

import re

DASH = re.compile(r'(<li class="doc-section-item field-body">)\s*–\s*')


def on_page_content(page_html, /, **_):
    """Take the dash off."""
    return DASH.sub(r"\1", page_html)
