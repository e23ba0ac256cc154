"""Models in which something is wrong, one a trap: `audit` names it, and nothing else."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from keras_penalties._keras import releases
from tests.support.helpers import BACKEND, KERAS, fresh_process

L2 = kp.regularizers.L2
RANDOM = np.random.RandomState(0)
X = RANDOM.normal(size=(16, 6)).astype("float32")
Y = RANDOM.randint(0, 3, 16)
STEPS = RANDOM.normal(size=(16, 5, 6)).astype("float32")
FINE = "reaches the gradient"


class BatchMean(keras.regularizers.Regularizer):
    """A regularizer that averages over the batch by itself."""

    def __call__(self, x):
        return ops.mean(ops.sum(ops.square(x), axis=-1))


class BatchCovariance(keras.regularizers.Regularizer):
    """A regularizer that describes a batch."""

    def __call__(self, x):
        z = x - ops.mean(x, axis=0)
        return ops.sum(ops.square(ops.transpose(z) @ z / x.shape[0]))


def model_of(build, shape=(6,), model=keras.Model, **options):
    inputs = keras.Input(shape)
    h = build(inputs)
    h = layers.Flatten()(h) if len(h.shape) > 2 else h
    net = model(inputs, layers.Dense(3, activation="softmax", name="out")(h), **options)
    net.compile("sgd", "sparse_categorical_crossentropy")
    return net


def verdicts(model, x=X):
    return {record["name"]: record["verdict"] for record in kp.audit(model, x, Y).records}


def why(model, x=X):
    return " ".join(text for record in kp.audit(model, x, Y).problems for text in record["why"])


def dense(regularizer, **options):
    return layers.Dense(4, activity_regularizer=regularizer, name="hidden", **options)


def test_keras_own_regularizer_depends_on_the_release():
    model = model_of(dense(keras.regularizers.L2(0.1)))
    assert verdicts(model) == {"hidden": "depends on the Keras release"}
    assert "keras_penalties.regularizers" in why(model)
    layer = kp.layers.ActivityPenalty(keras.regularizers.L2(0.1), name="layer")
    assert verdicts(model_of(layer)) == {
        "layer": "detached"
    }  # on the input; its number is everywhere the same


def test_a_mean_over_the_batch_is_divided_twice():
    expected = "divided twice" if releases.KERAS_DIVIDES_BY_BATCH else FINE
    assert verdicts(model_of(dense(BatchMean()))) == {"hidden": expected}
    assert verdicts(model_of(dense(BatchCovariance()))) == {"hidden": expected}
    model = model_of(lambda x: kp.layers.ActivityPenalty(BatchMean(), name="layer")(layers.Dense(4)(x)))
    assert verdicts(model) == {"layer": "divided twice"}


def test_padding_is_counted():
    model = model_of(lambda x: dense(L2(0.1))(layers.Masking()(x)), shape=(5, 6))
    padded = STEPS.copy()
    padded[:, 3:] = 0.0
    assert verdicts(model, padded) == {"hidden": "counts padding"}
    assert "128 of 320 elements" in why(model, padded)
    assert verdicts(model, STEPS) == {"hidden": FINE}  # nothing is padded


def test_time_distributed_drops_it():
    model = model_of(lambda x: layers.TimeDistributed(dense(L2(1e6)), name="each")(x), shape=(5, 6))
    assert verdicts(model, STEPS) == {"hidden": "dropped"}
    assert kp.audit(model, STEPS, Y).records[0]["at"] == "each/hidden"
    assert "TimeDistributed 'each' drops the losses" in why(model, STEPS)


MENDED = pytest.mark.skipif(KERAS >= (3, 16), reason="Keras 3.16 counts each use on JAX too")


@MENDED
def test_a_layer_that_is_used_twice_loses_one_on_jax():
    shared = layers.Dense(6, activity_regularizer=L2(0.1), name="hidden")
    model = model_of(lambda x: shared(shared(x)))
    expected = "dropped: 1 of 2 uses" if BACKEND == "jax" else "differs on JAX"
    assert verdicts(model) == {"hidden": expected}


@MENDED
def test_an_encoder_that_is_used_twice_loses_one_on_jax():
    encoder = keras.Sequential(
        [keras.Input((6,)), layers.Dense(6, activity_regularizer=L2(0.1), name="hidden")]
    )
    model = model_of(lambda x: layers.Add()([encoder(x), encoder(2.0 * x)]))
    expected = "dropped: 1 of 2 uses" if BACKEND == "jax" else "differs on JAX"
    assert verdicts(model) == {"hidden": expected}


def test_attention_punishes_its_parts():
    attention = layers.MultiHeadAttention(2, 4, activity_regularizer=L2(1e-3), name="attention")
    model = model_of(lambda x: attention(layers.Dense(6)(x), x), shape=(5, 6))
    found = verdicts(model, STEPS)
    assert found == dict.fromkeys(("query", "key", "value", "attention_output"), "counted by part")


def test_a_recurrent_layer_punishes_its_states():
    lstm = layers.LSTM(4, return_sequences=True, return_state=True, activity_regularizer=L2(0.1), name="lstm")
    model = model_of(lambda x: lstm(x)[0], shape=(5, 6))
    assert verdicts(model, STEPS) == {"lstm": "counted 3 times"}
    bare = model_of(layers.LSTM(4, activity_regularizer=L2(0.1), name="lstm"), shape=(5, 6))
    assert verdicts(bare, STEPS) == {"lstm": FINE}


@pytest.mark.skipif(not hasattr(keras, "distillation"), reason="this Keras has no Distiller")
def test_a_distiller_drops_its_students_penalties():
    student = model_of(dense(L2(0.1)), name="student")
    teacher = model_of(layers.Dense(4), name="teacher")
    loss = keras.distillation.LogitsDistillation(temperature=2.0)
    model = keras.distillation.Distiller(teacher=teacher, student=student, distillation_losses=loss)
    model.compile("sgd", loss="sparse_categorical_crossentropy")
    assert verdicts(model) == {"hidden": "dropped"}
    assert "runs the student twice per step" in why(model)


REPLICAS = """
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras_penalties as kp
from tests.test_audit_traps import BatchCovariance, dense, model_of, verdicts

with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    theirs, ours = model_of(dense(BatchCovariance())), model_of(dense(kp.regularizers.DeCov(0.1)))
print(verdicts(theirs)["hidden"], "|", verdicts(ours)["hidden"])
"""


@pytest.mark.default_backend_only
def test_a_batch_statistic_of_a_replica():
    theirs, ours = fresh_process(REPLICAS).splitlines()[-1].split(" | ")
    assert theirs.split(", ")[-1] == "per replica"
    assert ours == FINE


def test_a_loss_that_overflows():
    keras.config.set_dtype_policy("mixed_float16")
    model = model_of(dense(keras.regularizers.L2(1e-4), activation="relu"))
    assert "not finite" in verdicts(model, 3000 * X)["hidden"]
    ours = model_of(dense(L2(1e-10), activation="relu"))
    assert "not finite" not in verdicts(ours, 3000 * X)["hidden"]


def lengths(x):
    """The norm of each row; the gradient at a row of zeros is NaN."""
    return ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))


class FarFromOne(kp.regularizers.PerExamplePenalty):
    """A penalty whose gradient at 0 is not 0."""

    def elements(self, x):
        return ops.square(x - 1.0)


@pytest.mark.filterwarnings("ignore:.*not registered")
def test_a_gradient_that_is_not_finite():
    """The value of everything is finite. Only the penalty to blame has the verdict, or the main loss."""
    x = X.copy()
    x[0] = 0.0  # a row of zeros stays one: there is no bias

    def build(regularizer=None, lengths_before=False, lengths_after=False):
        def layers_of(inputs):
            h = layers.Dense(4, use_bias=False, activity_regularizer=regularizer, name="hidden")(inputs)
            h = layers.Lambda(lengths, name="norm_before")(h) if lengths_before else h
            h = kp.layers.ActivityPenalty(FarFromOne(0.1), name="ours")(h)
            return layers.Lambda(lengths, name="norm_after")(h) if lengths_after else h

        return model_of(layers_of)

    bad = "gradient not finite"
    assert verdicts(build(), x) == {"ours": FINE}
    found = verdicts(build(lambda h: ops.sum(lengths(h))), x)
    assert bad in found["hidden"] and found["ours"] == FINE
    assert verdicts(build(lengths_before=True), x) == {"ours": bad}
    assert "in the layers before it" in why(build(lengths_before=True), x)
    assert verdicts(build(lengths_after=True), x) == {"ours": bad}
    assert "main loss's gradient at 'ours' is nan" in why(build(lengths_after=True), x)


def test_training_loops_that_drop_it_or_count_it_twice():
    class Drops(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return ops.mean(keras.losses.sparse_categorical_crossentropy(y, y_pred))

    class Twice(keras.Model):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return super().compute_loss(x, y, y_pred, sample_weight) + sum(self.losses)

    def build(x):
        return kp.layers.ActivityPenalty(L2(0.1), name="quiet")(dense(L2(0.1))(x))

    assert verdicts(model_of(build, model=Drops)) == {"hidden": "dropped", "quiet": "dropped"}
    assert verdicts(model_of(build, model=Twice)) == dict.fromkeys(("hidden", "quiet"), "counted 2 times")


def test_a_layer_that_is_never_called():
    class Net(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden, self.out = dense(L2(0.1)), layers.Dense(3, activation="softmax")

        def call(self, x):
            return self.out(x)

    model = Net()
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert verdicts(model) == {"hidden": "dropped"}
    assert "was not called" in why(model)


def test_what_moves_no_weight_is_detached():
    class Penalizes(layers.Layer):
        def call(self, x):
            self.add_loss(0.1 * ops.mean(ops.square(ops.stop_gradient(x))))
            return x

    assert verdicts(model_of(lambda x: Penalizes(name="own")(layers.Dense(4)(x)))) == {"own": "detached"}
    frozen = model_of(
        lambda x: kp.layers.ActivityPenalty(L2(0.1), name="quiet")(layers.Dense(4, name="f")(x))
    )
    assert verdicts(frozen) == {"quiet": FINE}
    frozen.get_layer("f").trainable = False
    frozen.compile("sgd", "sparse_categorical_crossentropy")
    assert verdicts(frozen) == {"quiet": "detached"}
    assert "frozen" in why(frozen)


def test_zero_strengths_and_dead_layers():
    assert verdicts(model_of(dense(L2(0.0)))) == {"hidden": "zero"}
    dead = dense(L2(0.1), activation="relu", bias_initializer=keras.initializers.Constant(-100.0))
    assert verdicts(model_of(dead)) == {"hidden": "zero"}
    met = kp.regularizers.Excess(0.1, 100.0)
    model = model_of(dense(met))
    assert verdicts(model) == {"hidden": "zero on this batch"}
    assert kp.audit(model, X, Y).problems == []


@pytest.mark.parametrize("strength, verdict", [(1e-9, "drowned"), (0.1, FINE), (1e6, "dominates")])
def test_strengths_out_of_proportion(strength, verdict):
    assert verdicts(model_of(dense(L2(strength)))) == {"hidden": verdict}


def test_a_target_that_cannot_be_met():
    def build(x, target):
        return kp.layers.ActivityPenalty(kp.regularizers.L1(target), name="few")(layers.Dense(4)(x))

    saturated = kp.schedules.Target(1e-3, initial=1.0, maximum=1.0)
    model = model_of(lambda x: build(x, saturated))
    assert verdicts(model) == {"few": "target not met"}
    assert "its maximum of 1" in why(model)
    met = kp.schedules.Target(1e3, initial=1e-8)
    assert verdicts(model_of(lambda x: build(x, met))) == {"few": FINE}
