"""What is printed is plain text, wherever it is printed."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp


@pytest.fixture
def model():
    hidden = layers.Dense(3, activity_regularizer=kp.regularizers.L2(0.1), name="hidden")
    return keras.Sequential([keras.Input((4,)), hidden, layers.Dense(1, name="out")], name="small")


def audited(model):
    return kp.audit(model, np.ones((8, 4), "float32"))


@pytest.mark.parametrize("show", [audited, kp.list_tensors])
def test_a_notebook_and_a_terminal_with_colours_print_the_same_text(show, model, monkeypatch):
    shown = show(model)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    text = str(shown)
    assert "hidden" in text
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert str(shown) == text
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert str(shown) == text
