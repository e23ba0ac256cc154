"""What `kp.audit` prints is wider than other output, so it gets a class of its own for the stylesheet."""

import re

AUDIT = re.compile(r'<div class="language-text(?= highlight"><pre>(?:(?!</pre>).)*Penalties of )', re.DOTALL)


def on_page_content(page_html, /, **_):
    return AUDIT.sub(r"\g<0> audit", page_html)
