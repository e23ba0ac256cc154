"""What TensorBoard shows: every key of a penalty, and the penalized activations that `audit` returns."""

import keras
import numpy as np
import pytest
from keras import layers

import keras_penalties as kp

X, Y = np.ones((8, 4), "float32"), np.zeros((8, 1), "float32")


def events(folder):
    """What is in the event files of a folder: a list of arrays per tag."""
    import tensorflow as tf

    found = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(tf.make_ndarray(value.tensor))
    return found


@pytest.mark.needs("tensorflow", "tensorboard")
def test_the_scalars_of_penalties_are_in_the_event_files(tmp_path):
    inputs = keras.Input((4,))
    h = kp.layers.ActivityPenalty(kp.regularizers.L2(kp.schedules.Target(0.1)), name="quiet")(
        layers.Dense(3, name="hidden")(inputs)
    )
    model = kp.models.HiddenOutputs(keras.Model(inputs, layers.Dense(1)(h)), hidden=["hidden"])
    model.compile("sgd", "mse", hidden_losses={"hidden": kp.regularizers.L1(0.1)})
    callbacks = [keras.callbacks.TensorBoard(tmp_path, write_graph=False)]
    logs = model.fit(X, Y, epochs=2, verbose=0, validation_data=(X, Y), callbacks=callbacks).history
    expected = {"loss", "main_loss", "quiet", "quiet_strength", "quiet_measure", "hidden_loss"}
    assert logs.keys() == expected | {f"val_{key}" for key in expected}
    for part, prefix in (("train", ""), ("validation", "val_")):
        found = events(tmp_path / part)
        for key in expected:
            np.testing.assert_allclose(found[f"epoch_{key}"], logs[f"{prefix}{key}"], rtol=1e-6)


@pytest.mark.needs("tensorflow", "tensorboard")
def test_activations_can_be_written_as_histograms_during_a_training(tmp_path):
    import tensorflow as tf

    inputs = keras.Input((4,))
    hidden = layers.Dense(3, activity_regularizer=kp.regularizers.L2(0.1), name="hidden")
    model = keras.Model(inputs, layers.Dense(1)(hidden(inputs)))
    model.compile("sgd", "mse")
    writer, expected = tf.summary.create_file_writer(str(tmp_path)), []

    def write_activations(epoch, logs):
        with writer.as_default(step=epoch):
            for name, values in kp.audit(model, X, Y).activations().items():
                tf.summary.histogram(name, values)
                expected.append((values.min(), values.max(), values.size))

    callback = keras.callbacks.LambdaCallback(on_epoch_end=write_activations)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[callback])
    writer.close()
    written = [(bins[0, 0], bins[-1, 1], bins[:, 2].sum()) for bins in events(tmp_path)["hidden"]]
    np.testing.assert_allclose(written, expected, rtol=1e-5)
    assert len(written) == 2
