"""An audit in a notebook and as a page: its table, its sentences, and its figure."""

import base64
import builtins
import re
from html.parser import HTMLParser

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp

X, Y = np.ones((8, 4), "float32"), np.zeros((8, 1), "float32")


@keras.saving.register_keras_serializable("tests.audit_html")
class Labelled(kp.regularizers.PerExamplePenalty):
    """A penalty whose description has characters that HTML reserves."""

    def __init__(self, strength=0.1, label="", **kwargs):
        super().__init__(strength, **kwargs)
        self.label = label

    def elements(self, x):
        return x**2


class Page(HTMLParser):
    """The rows, items and images of a page; an error if an element is not closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.items, self.images, self.text = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.images.append(dict(attrs))
        elif tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "li":
            self.items.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        if "li" in self.open:
            self.items[-1] += data


def audit_of(*penalties):
    h = inputs = keras.Input((4,))
    for name, penalty in penalties:
        h = kp.layers.ActivityPenalty(penalty, name=name)(layers.Dense(3, kernel_initializer="ones")(h))
    model = keras.Model(inputs, layers.Dense(1)(h), name="small")
    model.compile("sgd", "mse")
    return kp.audit(model, X, Y)


@pytest.fixture
def audit():
    return audit_of(
        ("quiet", [kp.regularizers.L2(0.1), kp.regularizers.DeCov(0.1)]),
        ("silent", kp.regularizers.L1(0.0)),
        ("labelled", Labelled(label="<b>bold</b> & more")),
    )


def without_matplotlib(monkeypatch):
    real = builtins.__import__

    def imported(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", imported)


def test_the_table_has_a_row_per_penalty_with_the_cells_that_are_printed(audit):
    page, printed = Page(audit._repr_html_()), str(audit).splitlines()
    heading, *rows = page.rows
    assert [row[:2] for row in rows] == [[r["name"], r["penalty"]] for r in audit.records]
    assert [row[-1] for row in rows] == [r["verdict"] for r in audit.records]
    lines = [line.split() for line in printed if line.strip()]
    for cells in (heading, *rows):
        assert " ".join(cells).split() in lines


def test_each_name_and_each_problem_is_there_once(audit):
    page = Page(audit._repr_html_())
    for name in ("labelled", "quiet"):
        assert sum(name in cell for row in page.rows for cell in row) == audit_names(audit).count(name)
    assert page.items == ["silent: The strength of 'silent' is 0."]
    assert "".join(page.text).count("Batch of 8: loss") == 1


def audit_names(audit):
    return [record["name"] for record in audit.records]


def test_reserved_characters_are_escaped(audit):
    assert "<b>" not in audit.to_html()
    assert "Labelled(label='<b>bold</b> & more')" in [row[1] for row in Page(audit.to_html()).rows]


def test_what_is_between_backticks_is_code():
    inputs = keras.Input((4, 2))
    hidden = layers.Dense(3, activity_regularizer=kp.regularizers.L2(0.1), name="hidden")
    h = layers.Flatten()(layers.TimeDistributed(hidden, name="each")(inputs))
    model = keras.Model(inputs, layers.Dense(1)(h))
    model.compile("sgd", "mse")
    audit = kp.audit(model, np.ones((8, 4, 2), "float32"), Y)
    page = Page(audit._repr_html_())
    assert page.rows[1][:2] == ["hidden", "each/hidden"]
    assert "<code>keras_penalties.layers.ActivityPenalty</code>" in audit._repr_html_()
    assert page.items == [f"each/hidden: {audit.records[0]['why'][0]}".replace("`", "")]


def test_a_figure_if_matplotlib_is_installed(audit):
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    (image,) = Page(audit._repr_html_()).images
    assert plt.get_fignums() == before  # a notebook would show it twice
    kind, data = image["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")
    assert "gradient" in image["alt"]


def test_the_table_alone_without_matplotlib(audit, monkeypatch):
    without_matplotlib(monkeypatch)
    page = Page(audit._repr_html_())
    assert page.images == [] and len(page.rows) == 5


def test_a_page_that_needs_nothing_else(audit, tmp_path):
    path = tmp_path / "audit.html"
    assert audit.to_html(path) is None
    text = path.read_text(encoding="utf-8")
    assert text == audit.to_html()
    assert text.startswith("<!DOCTYPE html>") and "<title>Penalties of &#x27;small&#x27;</title>" in text
    assert audit._repr_html_() in text
    assert not re.search(r"https?:|<link|<script|@import|url\(", text)
    Page(text)
    assert audit.to_html(str(path)) is None


def test_a_model_without_penalties_says_so():
    audit = audit_of()
    assert audit.records == [] and audit.loss == audit.main_loss
    for text in (str(audit), audit._repr_html_()):
        assert "has no penalty and no hidden loss" in text and "Penalties of" in text
        assert "strength" not in text and "verdict" not in text
    assert Page(audit.to_html()).rows == []
