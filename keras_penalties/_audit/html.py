"""An audit as HTML that loads nothing: a table that can be copied, the sentences, and a figure."""

import base64
import re
from html import escape

from keras_penalties._audit import table
from keras_penalties._audit.figure import BLUE, ORANGE

# The text has the colour of the page around it, so it can be read on a light and on a dark background. The
# figure has a white background of its own.
STYLE = f"""
.kp-audit {{ overflow-x: auto; }}
.kp-audit table {{ border-collapse: collapse; font-size: 0.9em; color: inherit; }}
.kp-audit caption {{ text-align: left; font-weight: bold; padding: 0.3em 0; color: inherit; }}
.kp-audit th, .kp-audit td {{ text-align: left; padding: 0.25em 0.7em; color: inherit; background: none;
  border: 0; border-bottom: 1px solid rgba(128, 128, 128, 0.4); }}
.kp-audit .number {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
.kp-audit td.fine {{ border-left: 5px solid {BLUE}; }}
.kp-audit td.problem {{ border-left: 5px solid {ORANGE}; font-weight: bold; }}
.kp-audit p, .kp-audit ul {{ max-width: 60em; margin: 0.6em 0; }}
.kp-audit img {{ max-width: 100%; background: white; border-radius: 4px; }}
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font-family: system-ui, sans-serif; line-height: 1.4; margin: 1.5em; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


def fragment(title, records, summary, sentences, png) -> str:
    """The part of a page that shows an audit.

    Args:
        title: the heading of the table.
        records: those of the audit.
        summary: a sentence about the step.
        sentences: a sentence for each problem.
        png: the figure as bytes, or None.
    """
    found = table.columns(records)
    kinds = ["number" if column.is_number else "" for column in found]
    parts = [f"<style>{STYLE}</style>", "<table>", f"<caption>{escape(title)}</caption>"]
    if records:
        parts.append(f"<thead>{_row('th', [column.title for column in found], kinds)}</thead>")
    parts.append("<tbody>")
    for i, record in enumerate(records):
        kinds[-1] = "problem" if record["why"] else "fine"
        parts.append(_row("td", [column.cells[i] for column in found], kinds))
    parts += ["</tbody>", "</table>", f"<p>{escape(summary)}</p>"]
    if sentences:
        parts += ["<ul>", *(f"<li>{_with_code(sentence)}</li>" for sentence in sentences), "</ul>"]
    if png is not None:
        data = base64.b64encode(png).decode("ascii")
        words = "What each penalty adds to the loss, and its gradient as a multiple of the main loss's"
        parts.append(f'<img alt="{escape(words)}" width="900" src="data:image/png;base64,{data}">')
    return "\n".join(['<div class="kp-audit">', *parts, "</div>"])


def page(title, body) -> str:
    """A page that shows `body`."""
    return PAGE.format(title=escape(title), body=body)


def _row(tag, texts, kinds):
    cells = (
        f'<{tag} class="{kind}">{escape(text)}</{tag}>' if kind else f"<{tag}>{escape(text)}</{tag}>"
        for text, kind in zip(texts, kinds, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _with_code(sentence):
    """`sentence` escaped, with what is between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(sentence))
