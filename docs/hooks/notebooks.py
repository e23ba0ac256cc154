"""Each script in `notebooks` becomes a page of the site, and a notebook to download."""

import copy
import re
from pathlib import Path

import jupytext
from mkdocs.structure.files import File

FOLDER = Path(__file__).parents[2] / "notebooks"
FIGURE = re.compile(r'savefig\("([\w-]+\.png)"')
LINK = re.compile(r"\[([^\]]+)\]\(\.\./docs/([^)]+)\)")  # the scripts lie beside the folder `docs`
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def on_files(files, /, *, config):
    """Add both to the files of the site."""
    for script in sorted(FOLDER.glob("*.py")):
        notebook = jupytext.read(script)
        for name, text in (
            (f"{script.stem}.md", _page(notebook.cells, script.stem)),
            (f"{script.stem}.ipynb", _download(notebook)),
        ):
            files.append(File.generated(config, f"notebooks/{name}", content=text))
    return files


def _page(cells, name):
    """Text as text, code in fences, and the figure after the cell that draws it."""
    parts = [_part(cell) for cell in cells]
    parts.insert(1, f"[Download the notebook]({name}.ipynb)")
    return "\n\n".join(parts)


def _part(cell):
    if cell.cell_type == "markdown":
        return LINK.sub(r"[\1](../\2)", cell.source)
    figures = [f"[![The figure](../images/{name})](../images/{name})" for name in FIGURE.findall(cell.source)]
    return "\n\n".join([f"```python\n{cell.source}\n```", *figures])


def _download(notebook):
    """The notebook as a file that stands alone: it links to nothing beside it."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata["kernelspec"] = KERNEL
    for cell in notebook.cells:
        cell.source = LINK.sub(r"\1", cell.source)
    return jupytext.writes(notebook, fmt="ipynb")
