"""Weights with names: each loss gets those of its own labels, or says that there are none."""

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.support.one_batch import OneBatch


@pytest.mark.parametrize("outputs", [["who"], ["who", "age"]], ids=len)
@pytest.mark.parametrize("run", ["train_on_batch", "test_on_batch", "fit", "evaluate"])
def test_weights_weigh_what_they_name(outputs, run):
    """Each choice of weights gives every loss the weights of its own labels, or an error, in every method."""
    random = np.random.default_rng(0)
    rows, labels = 4, [*outputs, "code"]
    x = random.normal(size=(rows, 3)).astype("float32")
    start = keras.Input((3,), name="x")
    h = keras.layers.Dense(2, name="features")(start)
    heads = {name: keras.layers.Dense(2, name=name)(h) for name in outputs}
    inner = keras.Model(start, heads if len(heads) > 1 else heads["who"])
    model = kp.models.HiddenOutputs(inner, hidden={"a": "features", "b": "features"})
    targets = {"a": "code", "b": "who"}
    losses = {"loss": dict.fromkeys(outputs, "mse"), "hidden_losses": {"a": "mse", "b": "mse"}}
    model.compile(keras.optimizers.SGD(0.0), **losses, hidden_targets=targets, run_eagerly=True)
    y = {name: random.normal(size=(rows, 2)).astype("float32") for name in labels}
    drawn = {name: random.uniform(size=rows).astype("float32") for name in labels}
    hidden = keras.ops.convert_to_numpy(inner.get_layer("features")(x))

    def logs(weights):
        batch = OneBatch(x, y) if weights is None else OneBatch(x, y, weights)
        model.reset_metrics()  # Keras 3.12 continues the means of `test_on_batch`
        if run.endswith("batch"):
            return getattr(model, run)(x, y, sample_weight=weights, return_dict=True)
        if run == "fit":
            return {k: v[0] for k, v in model.fit(batch, verbose=0).history.items()}
        return model.evaluate(batch, verbose=0, return_dict=True)

    for chosen in ([], ["code"], ["who"], ["who", "code"], labels):
        weights = {name: drawn[name] for name in chosen} or None
        if weights is not None and set(chosen) != set(labels):
            with pytest.raises((ValueError, KeyError)) as caught:
                logs(weights)
            assert any(name in str(caught.value) for name in labels if name not in chosen)
            continue
        found = logs(weights)
        for key, name in targets.items():
            errors = np.mean((hidden - y[name]) ** 2, axis=1)
            expected = np.mean(errors * (drawn[name] if chosen else 1.0))
            assert found[f"{key}_loss"] == pytest.approx(expected, rel=1e-5)
