"""The pages of the reference: an index at the top, entries below the headings of families, no dashes."""

import re

from mkdocs.exceptions import PluginError

ENTRY = re.compile(r"^::: (?P<path>\S+\.(?P<name>\w+))(?P<options>\n    options: \{)?", re.MULTILINE)
FAMILY = re.compile(r"^## (.+)$", re.MULTILINE)
INDEX = "<!-- index -->"
DASH = re.compile(r'(<li class="doc-section-item field-body">)\s*–\s*')
OTHER = re.compile(r'<div class="doc doc-object doc-(?!class|function|attribute)(\w+)">\s*<h\d id="([\w.]+)"')


def on_page_markdown(markdown, /, **_):
    """Write the index, and put the entries of a page with families one level lower."""
    if INDEX not in markdown:
        return markdown
    _, *parts = FAMILY.split(markdown)
    families = zip(parts[::2], parts[1::2], strict=True)
    lines = (f"- **{family}**: {_links(entries)}" for family, entries in families)
    return ENTRY.sub(_lower, markdown).replace(INDEX, "\n".join(lines))


def on_page_content(page_html, /, page, **_):
    """Remove the dash that mkdocstrings puts before what has neither a name nor a type."""
    found = OTHER.search(page_html)
    if found:  # a function whose module has its name, so that the path means the module
        raise PluginError(f"{page.file.src_uri}: {found[2]} is a {found[1]}, not a class or a function.")
    return DASH.sub(r"\1", page_html)


def _links(text):
    return ", ".join(f"[`{entry['name']}`](#{entry['path']})" for entry in ENTRY.finditer(text))


def _lower(entry):
    """Below the heading of the family, and the function of a loss below its class, where the contents end."""
    level = 4 if entry["name"].islower() else 3
    options = f"\n    options: {{heading_level: {level}"
    return f"::: {entry['path']}{options}{', ' if entry['options'] else '}'}"
