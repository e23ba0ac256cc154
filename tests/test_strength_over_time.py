"""Strengths that move: each training batch counts once, by each way, and nothing else does."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp
from tests.support.helpers import BACKEND, fresh_process

R = kp.regularizers
DAMPED = np.exp(4.0)  # a measure of more than twice its target, with the default damping
RISING = keras.optimizers.schedules.PolynomialDecay(0.0, 8, 0.4)


class Seen(keras.callbacks.Callback):
    """What the logs show of a key, batch by batch, as the values that their means are made of."""

    def __init__(self, key):
        super().__init__()
        self.key, self.values = key, []

    def on_epoch_begin(self, epoch, logs=None):
        self.count, self.total = 0, 0.0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        self.values.append(logs[self.key] * self.count - self.total)
        self.total = logs[self.key] * self.count


@keras.saving.register_keras_serializable("tests")
class TurnsNegative(keras.optimizers.schedules.LearningRateSchedule):
    """Fit to be seen at every step at which a schedule is looked at, and at no other."""

    def __call__(self, step):
        step = keras.ops.cast(step, "float32")
        return keras.ops.where(step == 3, -1.0, 0.1) if self.trained else keras.ops.ones_like(step)

    trained = False

    def get_config(self):
        return {}


def penalized(penalty, way, uses=1):
    """A model whose hidden layer is zero but for a bias of one, so that L2 measures 4."""
    start = keras.Input((3,))
    dense = layers.Dense(4, name="hidden", kernel_initializer="zeros", bias_initializer="ones")
    if way == "layer":
        layer = kp.layers.ActivityPenalty(penalty, name="pressed")
        h = [layer(dense(start)) for _ in range(uses)]
        h = layers.Add()(h) if uses > 1 else h[0]
        return keras.Model(start, layers.Dense(1)(h)), "pressed"
    model = keras.Model(start, layers.Dense(1)(dense(start)))
    return kp.models.HiddenOutputs(model, hidden=["hidden"]), "hidden_loss"


def compiled(model, penalty, way, **options):
    if way == "compiled":
        options["hidden_losses"] = {"hidden": penalty}
    model.compile(keras.optimizers.SGD(0.0), "mse", **options)
    return model


def data(rows=8):
    return np.ones((rows, 3), "float32"), np.zeros((rows, 1), "float32")


by_way = pytest.mark.parametrize("way", ["layer", "compiled"])


@by_way
@pytest.mark.parametrize("schedule", [RISING, kp.schedules.Cyclical(0.3, 5)])
def test_batch_k_sees_the_schedule_at_k(way, schedule):
    model, key = penalized(R.L2(schedule), way)
    compiled(model, R.L2(schedule), way)
    seen, added = Seen(f"{key}_strength"), Seen(key)
    model.fit(*data(), batch_size=2, epochs=3, verbose=0, callbacks=[seen, added])
    expected = [float(schedule(k)) for k in range(12)]
    np.testing.assert_allclose(seen.values, expected, atol=1e-6)
    np.testing.assert_allclose(added.values, np.multiply(4.0, expected), atol=1e-5)


@by_way
def test_what_a_target_measures_is_shown(way):
    """Beside the strength that the batch had: their product is what was added."""
    penalty = R.L2(kp.schedules.Target(3.0, rate=0.1, initial=0.5, damping=2.0))
    model, key = penalized(penalty, way)
    compiled(model, penalty, way)
    measured, strengths, added = (Seen(f"{key}{end}") for end in ("_measure", "_strength", ""))
    callbacks = [measured, strengths, added]
    model.fit(*data(), batch_size=2, verbose=0, callbacks=callbacks)
    np.testing.assert_allclose(measured.values, [4.0] * 4, rtol=1e-5)
    error = 4.0 / 3.0 - 1.0
    expected = [0.5 * np.exp(0.1 * error * k + 2.0 * error) for k in range(4)]
    np.testing.assert_allclose(strengths.values, expected, rtol=1e-5)
    np.testing.assert_allclose(added.values, 4.0 * np.array(expected), rtol=1e-5)
    logs = model.evaluate(*data(), verbose=0, return_dict=True)
    np.testing.assert_allclose(logs[f"{key}_measure"], 4.0, rtol=1e-6)
    undamped = 0.5 * np.exp(0.1 * error * 4)
    np.testing.assert_allclose(logs[f"{key}_strength"], undamped, rtol=1e-5)
    np.testing.assert_allclose(logs[key], 4.0 * undamped, rtol=1e-5)


@by_way
def test_evaluate_and_predict_neither_count_nor_adapt(way):
    penalty = [R.L2(RISING), R.L1(kp.schedules.Target(1.0, initial=0.5))]
    model, key = penalized(penalty, way)
    compiled(model, penalty, way)
    model.fit(*data(), batch_size=2, verbose=0, validation_data=data())
    before = {key: value for key, value in model.evaluate(*data(), verbose=0, return_dict=True).items()}
    np.testing.assert_allclose(before[f"{key}_l2_strength"], float(RISING(4)), rtol=1e-6)
    for _ in range(3):
        model.predict(data()[0], verbose=0)
        assert model.evaluate(*data(), verbose=0, return_dict=True) == before


def test_a_layer_used_twice_counts_once_and_adds_twice():
    target = kp.schedules.Target(1.0, rate=0.1, initial=0.5)
    penalty = [R.L2(RISING), R.L1(target)]
    model, key = penalized(penalty, "layer", uses=2)
    compiled(model, penalty, "layer")
    seen, adapted, added = Seen(f"{key}_l2_strength"), Seen(f"{key}_l1_strength"), Seen(key)
    model.fit(*data(), batch_size=2, verbose=0, callbacks=[seen, adapted, added])
    expected = [float(RISING(k)) for k in range(4)]
    np.testing.assert_allclose(seen.values, expected, atol=1e-6)
    np.testing.assert_allclose(adapted.values, DAMPED * 0.5 * np.exp(0.1 * np.arange(4)), rtol=1e-5)
    np.testing.assert_allclose(
        added.values, 2 * (4 * np.array(expected) + 4 * np.array(adapted.values)), rtol=1e-5
    )


@by_way
@pytest.mark.parametrize("how", ["eager", "accumulation", "several steps at once", "mixed precision"])
def test_by_any_kind_of_step(way, how):
    if how == "several steps at once" and BACKEND == "torch":
        pytest.skip("Keras refuses `steps_per_execution` on torch")
    if how == "mixed precision":
        keras.config.set_dtype_policy("mixed_float16")
    options = {"eager": {"run_eagerly": True}, "several steps at once": {"steps_per_execution": 2}}.get(
        how, {}
    )
    penalty = [R.L2(RISING), R.L1(kp.schedules.Target(1.0, rate=0.1, initial=0.5))]
    model, key = penalized(penalty, way)
    compiled(model, penalty, way, **options)
    if how == "accumulation":
        model.optimizer = keras.optimizers.SGD(0.0, gradient_accumulation_steps=2)
    logs = model.fit(*data(12), batch_size=2, verbose=0).history
    np.testing.assert_allclose(logs[f"{key}_l2_strength"], np.mean([RISING(k) for k in range(6)]), rtol=1e-5)
    np.testing.assert_allclose(
        logs[f"{key}_l1_strength"], np.mean(DAMPED * 0.5 * np.exp(0.1 * np.arange(6))), rtol=1e-5
    )


@by_way
def test_a_strength_is_saved_and_goes_on(way, tmp_path):
    penalty = [R.L2(RISING), R.L1(kp.schedules.Target(1.0, rate=0.1, initial=0.5))]
    model, _ = penalized(penalty, way)
    compiled(model, penalty, way)
    model.fit(*data(), batch_size=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert model.evaluate(*data(), verbose=0) == again.evaluate(*data(), verbose=0)
    histories = [m.fit(*data(), batch_size=2, epochs=2, verbose=0).history for m in (model, again)]
    assert histories[0] == histories[1]


@pytest.mark.default_backend_only
@by_way
def test_exports(way, tmp_path):
    import tensorflow as tf

    penalty = [R.L2(RISING), R.L1(kp.schedules.Target(1.0))]
    model, _ = penalized(penalty, way)
    compiled(model, penalty, way)
    model.fit(*data(), verbose=0)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    np.testing.assert_allclose(served.serve(data()[0]), model.predict(data()[0], verbose=0), rtol=1e-6)


@by_way
def test_weights_of_the_plain_model_load_and_back(way, tmp_path):
    penalty = R.L2(RISING)
    model, _ = penalized(penalty, way)
    compiled(model, penalty, way)
    plain, _ = penalized(R.L2(0.1), "compiled")
    plain = plain.model
    plain.save_weights(tmp_path / "plain.weights.h5")
    model.load_weights(tmp_path / "plain.weights.h5")
    model.fit(*data(), verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    plain.load_weights(tmp_path / "model.weights.h5")


@pytest.mark.parametrize("bad", [-0.5, float("nan"), float("inf")])
def test_a_schedule_that_gives_no_strength(bad):
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([1000], [0.1, bad])
    words = r"`strength` of L2 is the schedule PiecewiseConstantDecay, which returns (-0.5|nan|inf) at step"
    with pytest.raises(ValueError, match=words):
        R.L2(schedule)


@by_way
def test_a_strength_that_turns_negative_unseen_is_nan_in_the_log(way):
    schedule = TurnsNegative()
    penalty = R.L2(schedule)
    schedule.trained = True
    model, key = penalized(penalty, way)
    compiled(model, penalty, way)
    logs = model.fit(*data(), batch_size=2, verbose=0).history
    assert np.isnan(logs[key][0])
    assert np.isnan(logs["loss"][0])


def test_a_target_is_met():
    """A layer that is to equal its input, at half the activity: the strength that does it is known."""
    x = np.random.default_rng(0).normal(size=(256, 3)).astype("float32")
    activity = np.mean(np.sum(x.astype("float64") ** 2, axis=1))
    start = keras.Input((3,))
    target = kp.schedules.Target(activity / 2, initial=0.01)
    h = kp.layers.ActivityPenalty(R.L2(target), name="pressed")(layers.Dense(3, name="hidden")(start))
    model = keras.Model(start, h)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    steps = np.tile(x, (20, 1))
    logs = model.fit(steps, steps, batch_size=256, epochs=30, shuffle=False, verbose=0).history
    hidden = np.sum(model.predict(x, verbose=0) ** 2, axis=1)
    np.testing.assert_allclose(np.mean(hidden), activity / 2, rtol=0.05)
    np.testing.assert_allclose(logs["pressed_measure"][-1], activity / 2, rtol=0.05)
    assert min(logs["pressed_measure"]) > 0.7 * activity / 2
    # (h - x)^2 / 3 + s h^2 is least at h = x / (1 + 3 s), which halves h^2 at s = (sqrt(2) - 1) / 3
    np.testing.assert_allclose(logs["pressed_strength"][-1], (2**0.5 - 1) / 3, rtol=0.05)


KILLED = """
import os, signal
import keras, numpy as np
import keras_penalties as kp
from tests.test_strength_over_time import R, RISING, compiled, data, penalized
penalty = [R.L2(RISING), R.L1(kp.schedules.Target(1.0, rate=0.1, initial=0.5))]
model = compiled(penalized(penalty, {way!r})[0], penalty, {way!r})
class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if {kill} and int(self.model.optimizer.iterations) == 6:
            os.kill(os.getpid(), signal.SIGKILL)
saved = keras.callbacks.BackupAndRestore({folder!r}, save_freq={save_freq!r})
history = model.fit(*data(), batch_size=2, epochs=3, verbose=0, callbacks=[saved, Kill()]).history
step, strength = (float(w) for w in model.non_trainable_variables if w.shape == ())
print(int(model.optimizer.iterations), step, strength)
"""


@pytest.mark.parametrize("way, save_freq", [("layer", "epoch"), ("compiled", 1)])
def test_killed_and_resumed(way, save_freq, tmp_path):
    def run(kill, folder):
        path = str(tmp_path / folder)
        printed = fresh_process(KILLED.format(way=way, kill=kill, folder=path, save_freq=save_freq))
        return [float(word) for word in printed.split()[-3:]]

    with pytest.raises(AssertionError):
        run(True, "killed")
    # Keras resumes at the start of the epoch: with a backup each batch, two batches are trained again.
    expected = 12 if save_freq == "epoch" else 14
    iterations, step, strength = run(False, "killed")
    assert (iterations, step) == (expected, expected)
    np.testing.assert_allclose(strength, 0.5 * np.exp(0.1 * expected), rtol=1e-5)
