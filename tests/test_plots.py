"""The figures: what is drawn, from which keys, and the errors if it cannot be."""

import builtins
import csv

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp

X, Y = np.ones((8, 4), "float32"), np.zeros((8, 1), "float32")


@pytest.fixture
def model():
    pytest.importorskip("matplotlib").use("Agg")
    schedule = keras.optimizers.schedules.PolynomialDecay(0.0, 4, 0.1)
    inputs = keras.Input((4,))
    h = layers.Dense(3, activation="relu", name="hidden")(inputs)
    h = kp.layers.ActivityPenalty([kp.regularizers.L2(schedule), kp.regularizers.L1(0.1)], name="quiet")(h)
    model = keras.Model(inputs, layers.Dense(1)(h))
    model.compile("sgd", "mse", metrics=["mae"])
    yield model
    import matplotlib.pyplot as plt

    plt.close("all")


def drawn(axis):
    return {line.get_label(): list(line.get_ydata()) for line in axis.lines if line.get_label()[0] != "_"}


def test_terms_above_strengths(model):
    history = model.fit(X, Y, epochs=3, verbose=0, validation_data=(X, Y))
    terms, strengths = kp.plot_penalties(history).axes
    assert drawn(terms) == {key: history.history[key] for key in ("loss", "quiet")}
    assert drawn(strengths) == {"quiet_strength": history.history["quiet_strength"]}
    dashed = [list(line.get_ydata()) for line in terms.lines if line.get_linestyle() == "--"]
    assert dashed == [history.history[f"val_{key}"] for key in ("loss", "quiet")]


def test_a_log_file_gives_the_same_figure(model, tmp_path):
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[log])
    with open(tmp_path / "log.csv") as file:
        rows = list(csv.DictReader(file))
    columns = {key: [float(row[key].replace("NA", "nan")) for row in rows] for key in rows[0]}
    for axis, other in zip(kp.plot_penalties(columns).axes, kp.plot_penalties(history).axes, strict=True):
        assert drawn(axis).keys() == drawn(other).keys()
        for key, values in drawn(axis).items():
            np.testing.assert_allclose(values, drawn(other)[key], rtol=1e-5)


def test_the_terms_of_a_wrapper(model):
    model = kp.models.HiddenOutputs(model, hidden=["hidden"])
    model.compile("sgd", "mse", hidden_losses={"hidden": kp.regularizers.L2(0.1)})
    terms, _ = kp.plot_penalties(model.fit(X, Y, epochs=2, verbose=0)).axes
    assert set(drawn(terms)) == {"main_loss", "quiet", "hidden_loss"}


def test_measures_with_their_targets(model):
    """Of penalties, of hidden losses without labels, and of the weight of one with labels."""
    target, regularizers = kp.schedules.Target, kp.regularizers
    inputs = keras.Input((4,))
    h = layers.Dense(3, activation="relu", name="hidden")(inputs)
    h = kp.layers.ActivityPenalty([regularizers.L2(target(2.0)), regularizers.L1(target(3.0))], name="quiet")(
        h
    )
    model = keras.Model(inputs, layers.Dense(1)(layers.Dense(1, name="code")(h)))
    model = kp.models.HiddenOutputs(model, hidden=["hidden", "code"])
    model.compile(
        "sgd",
        "mse",
        hidden_losses={"hidden": regularizers.L2(target(4.0)), "code": "mse"},
        hidden_loss_weights={"code": target(5.0)},
    )
    history = model.fit(X, Y, epochs=2, verbose=0, validation_data=(X, Y))
    terms, strengths, measures = kp.plot_penalties(history).axes
    assert set(drawn(terms)) == {"main_loss", "quiet", "hidden_loss", "code_loss"}
    moving = {"quiet_l2_strength", "quiet_l1_strength", "hidden_loss_strength", "code_loss_weight"}
    assert set(drawn(strengths)) == moving
    targets = {
        "quiet_l2_measure": 2.0,
        "quiet_l1_measure": 3.0,
        "hidden_loss_measure": 4.0,
        "code_loss_measure": 5.0,
    }
    assert drawn(measures) == {key: history.history[key] for key in targets}
    assert measures.get_ylabel() == "measure (thin: target)"
    colours = {line.get_label(): line.get_color() for line in measures.lines}
    thin = [(line.get_color(), list(line.get_ydata())) for line in measures.lines if line.get_linewidth() < 1]
    assert sorted(thin) == sorted((colours[key], [value, value]) for key, value in targets.items())
    dashed = {line.get_label(): line for line in measures.lines if line.get_linestyle() == "--"}
    for key in targets:
        assert list(dashed[f"_val_{key}"].get_ydata()) == history.history[f"val_{key}"]
        assert dashed[f"_val_{key}"].get_color() == colours[key]

    columns = kp.plot_penalties(history.history).axes  # without the model, the targets are unknown
    assert [set(drawn(axis)) for axis in columns] == [set(drawn(a)) for a in (terms, strengths, measures)]
    assert columns[2].get_ylabel() == "measure"
    assert not [line for line in columns[2].lines if line.get_linewidth() < 1]


def test_sixteen_terms_can_be_told_apart(model):
    terms = {f"block_{i}_activation_sparsity_penalty": [1.0, 0.5**i] for i in range(16)}
    history = {"loss": [9.0, 9.0], **terms, **{f"{key}_strength": [0.1, 0.2] for key in terms}}
    figure = kp.plot_penalties(history)
    figure.canvas.draw()
    for axis in figure.axes:
        lines, legend = [line for line in axis.lines if line.get_label() in history], axis.get_legend()
        assert len({(line.get_color(), line.get_marker(), line.get_alpha()) for line in lines}) == len(lines)
        box, frame = legend.get_window_extent(), figure.bbox
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
    below, _ = (a.get_legend().get_window_extent() for a in reversed(figure.axes))
    assert below.y1 <= figure.axes[0].get_legend().get_window_extent().y0
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert names == ["loss", *terms]  # in the order in which the lines end


def test_keys_that_are_asked_for(model):
    history = {"loss": [1.0, 0.5], "mine": [0.0, 0.1], "mae": [1.0, 1.0]}
    (axis,) = kp.plot_penalties(history, keys="mine").axes
    assert set(drawn(axis)) == {"loss", "mine"}
    assert axis.get_yscale() == "symlog"  # there is a zero
    (_, other) = kp.plot_penalties(
        {**history, "mine_too": [1.0], "mine_too_strength": [1.0]}, "mine_too"
    ).axes
    assert set(drawn(other)) == {"mine_too_strength"}
    assert (
        len(kp.plot_penalties({**history, "mine_too": [1.0], "mine_too_strength": [1.0]}, "mine").axes) == 1
    )
    with pytest.raises(
        ValueError, match="`keys` of plot_penalties must name keys of `history`.*'loss', 'mine'"
    ):
        kp.plot_penalties(history, keys=["yours"])
    with pytest.raises(ValueError, match="has no key of a penalty.*'loss', 'mine', 'mae'"):
        kp.plot_penalties(history)
    with pytest.raises(TypeError, match="`history` of plot_penalties must be what `fit` returns"):
        kp.plot_penalties([0.1, 0.2])


def test_an_audit_is_drawn_with_activations_before_and_after(model):
    before = kp.audit(model, X, Y)
    model.fit(X, Y, epochs=2, verbose=0)
    after = kp.audit(model, X, Y)
    axes = after.plot(before).axes
    names = [text.get_text() for text in axes[0].get_yticklabels()]
    assert names == ["quiet: L2", "quiet: L1"]
    histograms = axes[2].containers
    assert len(histograms) == 2
    for values in histograms:
        assert sum(bar.get_height() for bar in values) == pytest.approx(1.0)
    with pytest.raises(TypeError, match="`before` of Audit.plot must be what `audit` returns.*Received: 'x'"):
        after.plot("x")
    assert kp.audit(keras.Sequential([keras.Input((4,)), layers.Dense(1)]), X).plot() is not None


def test_without_matplotlib_it_says_what_to_install(model, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    audit = kp.audit(model, X, Y)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ImportError, match="plot_penalties draws with matplotlib.*pip install 'keras-penalties"
    ):
        kp.plot_penalties({"quiet_penalty": [1.0]})
    with pytest.raises(ImportError, match="Audit.plot draws with matplotlib"):
        audit.plot()
