"""The README that a package index shows: its links and pictures are absolute.

In the repository they are relative, so that they work in a clone and on each branch. `Source` in
`[project.urls]` says where the repository is; without it the links stay as they are.
"""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# The start of a link or picture, up to its target, unless that is an address or a heading of the page.
BEFORE_PATH = re.compile(r"(!?)\[[^\]]*\]\((?!\w+:|#)")


def with_absolute_links(text, source):
    """`text` with links to the files of the repository at `source`, and with its pictures from there."""
    base = source.rstrip("/")
    return BEFORE_PATH.sub(lambda m: f"{m[0]}{base}/{'raw' if m[1] else 'blob'}/HEAD/", text)


class Readme(MetadataHookInterface):
    def update(self, metadata):
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        if "Source" in metadata.get("urls", {}):
            text = with_absolute_links(text, metadata["urls"]["Source"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
