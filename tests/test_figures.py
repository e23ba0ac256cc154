"""The figures of the site: each is on a page, and the one of the benchmarks shows every time."""

import json

import numpy as np
import pytest

from tests.support.helpers import ROOT


@pytest.mark.default_backend_only
@pytest.mark.needs("matplotlib")
def test_the_figure_of_the_benchmarks_shows_every_time(tmp_path, monkeypatch):
    from benchmarks import figure

    with monkeypatch.context() as patch:
        patch.setattr(figure.plt, "close", lambda _: None)
        record = json.loads((ROOT / "docs" / "benchmarks.json").read_text())
        figure.draw(record, tmp_path / "benchmarks.png")
        drawn = figure.plt.gcf()
    figure.plt.close(drawn)
    for axis in drawn.axes:
        low, high = zip(axis.get_xlim(), sorted(axis.get_ylim()), strict=True)
        places = np.concatenate([dots.get_offsets() for dots in axis.collections])
        assert len(places) > 20
        assert np.all((low < places) & (places < high)), axis.get_title()


def test_each_picture_is_on_a_page():
    pages = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.py")]
    text = "".join(page.read_text() for page in pages)
    assert not [path.name for path in ROOT.glob("docs/images/*.png") if path.name not in text]
