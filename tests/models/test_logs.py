"""What `fit`, `evaluate` and the rest show and return, with hidden losses and without."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_penalties as kp
from tests.models.networks import data, forward, one_hidden

KEYS = {"loss", "main_loss", "dense_4_loss"}


@keras.saving.register_keras_serializable("test_logs")
def distance_to_labels(y_true, hidden):
    return ops.mean(ops.square(hidden[:, :2] - y_true), axis=-1)


@keras.saving.register_keras_serializable("test_logs")
def everything(y_true, y_pred, hidden):
    return ops.mean(ops.square(y_true - y_pred), axis=-1) * ops.mean(hidden["dense_4"], axis=-1)


def wrapped(**compiled):
    model = kp.models.HiddenOutputs(one_hidden(), hidden=["dense_4"])
    compiled.setdefault("hidden_losses", {"dense_4": kp.regularizers.L2(0.1)})
    model.compile(keras.optimizers.SGD(0.0), "mse", **compiled)
    return model


def expected(x, y):
    hidden, output = forward(one_hidden().get_weights(), x)
    return np.mean((output - y) ** 2), 0.1 * np.sum(hidden**2) / len(x)


def test_the_terms_are_named_and_sum_to_the_loss():
    x, y = data()
    main, term = expected(x, y)
    logs = wrapped().evaluate(x, y, verbose=0, return_dict=True)
    assert set(logs) == KEYS
    np.testing.assert_allclose(logs["main_loss"], main, rtol=1e-5)
    np.testing.assert_allclose(logs["dense_4_loss"], term, rtol=1e-5)
    np.testing.assert_allclose(logs["loss"], main + term, rtol=1e-5)


@pytest.mark.parametrize("eager", [False, True])
def test_history_holds_the_same_keys_for_validation_with_a_short_last_batch(eager):
    x, y = data(11)
    model = wrapped(run_eagerly=eager, metrics=["mae"])
    history = model.fit(x, y, batch_size=4, epochs=2, validation_data=(x, y), verbose=0).history
    assert set(history) == {*KEYS, "mae", *(f"val_{key}" for key in KEYS), "val_mae"}
    main, term = expected(x, y)
    for prefix in ("", "val_"):  # the learning rate is 0, so both passes see the same weights
        np.testing.assert_allclose(history[prefix + "main_loss"], main, rtol=1e-5)
        np.testing.assert_allclose(history[prefix + "dense_4_loss"], term, rtol=1e-5)


def test_a_path_is_a_name_too():
    start = keras.Input((3,))
    stack = [keras.Input((3,)), keras.layers.Dense(2, kernel_initializer="ones", name="deep")]
    inner = keras.Sequential(stack, name="encoder")
    model = kp.models.HiddenOutputs(keras.Model(start, inner(start)), hidden=["encoder/deep"])
    hidden = {"encoder/deep": kp.regularizers.L2(kp.schedules.Cyclical(0.5, 1))}
    model.compile("sgd", "mse", hidden_losses=hidden)
    logs = model.evaluate(np.ones((4, 3)), np.zeros((4, 2)), verbose=0, return_dict=True)
    keys = {"loss", "main_loss", "encoder_deep_loss", "encoder_deep_loss_strength"}
    assert set(logs) == keys
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert set(again.evaluate(np.ones((4, 3)), np.zeros((4, 2)), verbose=0, return_dict=True)) == keys


@pytest.mark.backends("tensorflow", "jax")
def test_steps_per_execution_and_jit_compile():
    x, y = data(12)
    model = wrapped(steps_per_execution=3, jit_compile=True)
    history = model.fit(x, y, batch_size=4, verbose=0).history
    np.testing.assert_allclose(history["dense_4_loss"], expected(x, y)[1], rtol=1e-5)


def test_train_on_batch_test_on_batch_and_predict():
    x, y = data()
    model = wrapped()
    logs = model.train_on_batch(x, y, return_dict=True)
    assert set(logs) == KEYS
    assert set(model.test_on_batch(x, y, return_dict=True)) == KEYS
    np.testing.assert_allclose(model.predict(x, verbose=0), forward(one_hidden().get_weights(), x)[1], 1e-4)
    assert float(model.evaluate(x, y, verbose=0)[0]) == pytest.approx(sum(expected(x, y)), rel=1e-5)


def test_sample_weight_and_class_weight_count_for_labels_and_not_for_penalties():
    x, _ = data()
    y = np.arange(12) % 2
    weights = np.linspace(0.5, 2.0, 12)
    model = kp.models.HiddenOutputs(one_hidden(), hidden={"h": "dense_4", "again": "dense_4"})
    from_logits = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(0.0),
        from_logits,
        hidden_losses={"h": kp.regularizers.L1(0.1), "again": from_logits},
    )
    hidden, output = forward(one_hidden().get_weights(), x)

    def entropy(logits):
        return np.log(np.sum(np.exp(logits), axis=1)) - logits[np.arange(12), y]

    def check(logs, weights):
        np.testing.assert_allclose(logs["main_loss"], np.mean(entropy(output) * weights), rtol=1e-5)
        np.testing.assert_allclose(logs["again_loss"], np.mean(entropy(hidden) * weights), rtol=1e-5)
        np.testing.assert_allclose(logs["h_loss"], 0.1 * np.sum(np.abs(hidden)) / 12, rtol=1e-5)

    check(model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True), weights)
    history = model.fit(x, y, batch_size=12, class_weight={0: 1.0, 1: 3.0}, verbose=0).history
    check({key: values[0] for key, values in history.items()}, np.where(y == 1, 3.0, 1.0))


def test_functions_losses_weights_tuples_and_the_joint_loss():
    x, y = data()
    model = kp.models.HiddenOutputs(one_hidden(), hidden={"dense_4": "dense_4", "out": "out"})
    model.compile(
        keras.optimizers.SGD(0.0),
        hidden_losses={
            "dense_4": distance_to_labels,
            "out": "mae",
            ("dense_4", "out"): lambda_free_difference,
        },
        hidden_loss_weights={"dense_4": 0.5},
        joint_loss=everything,
    )
    hidden, output = forward(one_hidden().get_weights(), x)
    weights = np.linspace(0.0, 1.0, 12)
    logs = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    labels = np.mean((hidden[:, :2] - y) ** 2, axis=1)
    np.testing.assert_allclose(logs["dense_4_loss"], 0.5 * np.mean(labels * weights), rtol=1e-5)
    np.testing.assert_allclose(logs["out_loss"], np.mean(np.abs(y - output).mean(1) * weights), rtol=1e-5)
    both = np.mean(np.mean((hidden[:, :2] - output) ** 2, axis=1) * weights)
    np.testing.assert_allclose(logs["dense_4_out_loss"], both, rtol=1e-5)
    joint = np.mean((y - output) ** 2, axis=1) * hidden.mean(1)
    np.testing.assert_allclose(logs["joint_loss"], np.mean(joint * weights), rtol=1e-5)
    assert "main_loss" not in logs
    total = sum(logs[key] for key in ("dense_4_loss", "out_loss", "dense_4_out_loss", "joint_loss"))
    np.testing.assert_allclose(logs["loss"], total, rtol=1e-5)


@keras.saving.register_keras_serializable("test_logs")
def lambda_free_difference(y_true, hidden):
    return ops.mean(ops.square(hidden[0][:, :2] - hidden[1]), axis=-1)


def test_other_losses_of_the_wrapped_model_are_counted_once_and_shown():
    x, y = data()
    base = one_hidden(
        kernel_regularizer=keras.regularizers.L1(0.01), activity_regularizer=kp.regularizers.L1(0.2)
    )
    model = kp.models.HiddenOutputs(base, hidden=["dense_4"])
    model.compile("sgd", "mse", hidden_losses={"dense_4": kp.regularizers.L2(0.1)})
    logs = model.evaluate(x, y, verbose=0, return_dict=True)
    weights = one_hidden().get_weights()
    hidden, _ = forward(weights, x)
    other = 0.01 * np.abs(weights[0]).sum() + 0.2 * np.abs(hidden).sum() / len(x)
    np.testing.assert_allclose(logs["regularization_loss"], other, rtol=1e-5)
    total = logs["main_loss"] + logs["dense_4_loss"] + logs["regularization_loss"]
    np.testing.assert_allclose(logs["loss"], total, rtol=1e-6)


def test_a_call_outside_of_training_leaves_the_logs_alone():
    x, y = data()
    model = wrapped()

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model(x * 100.0, training=True)

    history = model.fit(x, y, batch_size=4, callbacks=[Look()], verbose=0).history
    np.testing.assert_allclose(history["dense_4_loss"], expected(x, y)[1], rtol=1e-5)


def test_tf_data_and_dropout_give_the_wrapped_model_s_trajectory():
    x, y = data()
    results = []
    for wrap in (False, True):
        keras.utils.set_random_seed(3)
        base = one_hidden()
        model = kp.models.HiddenOutputs(base, hidden=["dense_4"]) if wrap else base
        model.compile(keras.optimizers.Adam(0.05), "mse")
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(4), epochs=2, verbose=0)
        else:
            model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        results.append(base.get_weights())
    for plain, wrapped_weights in zip(*results, strict=True):
        np.testing.assert_allclose(plain, wrapped_weights, rtol=1e-6)
