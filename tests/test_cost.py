"""What a penalty costs in a compiled training step, counted by XLA: operations and bytes, not time."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from benchmarks import measure

pytestmark = pytest.mark.backends("jax")


def mlp(regularizer=None, after=None):
    start = h = keras.Input((64,))
    for i in range(6):
        h = layers.Dense(64, activation="relu", name=f"hidden_{i}", activity_regularizer=regularizer)(h)
        if after is not None:
            h = after(i)(h)
    return keras.Model(start, layers.Dense(10)(h))


def cost(model, loss="mse", y=lambda y: y, **compiled):
    """Operations and bytes of one training step."""
    model.compile(keras.optimizers.SGD(0.1), loss, **compiled)
    return measure.step_counts(model, np.ones((32, 64), "float32"), y(np.ones((32, 10), "float32")))


def test_l2_on_six_layers_costs_what_keras_own_costs():
    keras_flops, keras_bytes = cost(mlp(keras.regularizers.L2(1e-3)))
    plain_flops, _ = cost(mlp())
    assert keras_flops > plain_flops  # the count sees a penalty
    flops, accessed = cost(mlp(kp.regularizers.L2(1e-3)))
    assert flops <= keras_flops
    assert accessed <= 1.01 * keras_bytes

    def named(i):
        return kp.layers.ActivityPenalty(kp.regularizers.L2(1e-3), name=f"penalty_{i}")

    flops, accessed = cost(mlp(after=named))
    assert flops <= keras_flops + 6 * 10  # the means that are shown: scalars, ten operations each at most
    assert accessed <= 1.01 * keras_bytes


def test_l2_by_name_on_six_inner_layers_costs_what_keras_own_costs():
    def blocks(regularizer=None):
        stack = [Wrapped(regularizer, name=f"block_{i}") for i in range(6)]
        return keras.Sequential([keras.Input((64,)), *stack, layers.Dense(10)])

    penalty = kp.regularizers.L2(1e-3)
    for build, pattern in ((mlp, "hidden_?"), (blocks, "block_?/inner")):
        keras_flops, keras_bytes = cost(build(keras.regularizers.L2(1e-3)))
        plain_flops, _ = cost(build())
        flops, accessed = cost(kp.penalize(build(), {pattern: penalty}))
        assert plain_flops < keras_flops
        assert flops <= keras_flops + 6 * 10  # the means that are shown, as above
        assert accessed <= 1.01 * keras_bytes


class Wrapped(layers.Layer):
    """A block around a layer."""

    def __init__(self, regularizer=None, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Dense(64, "relu", name="inner", activity_regularizer=regularizer)

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)


class ByHand(keras.Model):
    """What one would write instead of `HiddenOutputs`."""

    def __init__(self, model):
        super().__init__()
        hidden = [model.get_layer(f"hidden_{i}").output for i in (2, 4)]
        self.inner = keras.Model(model.input, [model.output, *hidden])
        self.built = True

    def call(self, x):
        output, *self.hidden = self.inner(x)
        return output

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        a, b = self.hidden
        loss = ops.mean(ops.square(y - y_pred))
        return loss + 1e-3 * ops.sum(ops.square(a)) / 32 + 1e-2 * ops.sum(ops.abs(b)) / 32


def test_hidden_outputs_cost_what_the_same_terms_by_hand_cost():
    by_hand, _ = cost(ByHand(mlp()))
    model = kp.models.HiddenOutputs(mlp(), hidden=["hidden_2", "hidden_4"])
    terms = {"hidden_2": kp.regularizers.L2(1e-3), "hidden_4": kp.regularizers.L1(1e-2)}
    flops, _ = cost(model, hidden_losses=terms)
    assert flops <= 1.02 * by_hand


class KeepsItsLoss(layers.Layer):
    """An unnamed penalty, which keeps what it adds."""

    def call(self, x):
        self.last = 1e-3 * ops.sum(ops.square(x)) / 32
        self.add_loss(self.last)
        return x


class ShowsByHand(keras.Model):
    """What one would write to log the value of each penalty."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        for layer, mean in zip(self.penalties, self.means, strict=True):
            mean.update_state(layer.last)
        return super().compute_loss(x, y, y_pred, sample_weight, training)


def test_a_name_costs_six_operations_and_by_hand_eight():
    # `docs/benchmarks.md` has both figures.
    unnamed, _ = cost(mlp(after=lambda i: KeepsItsLoss()))
    penalty = kp.regularizers.L2(1e-3)
    named, _ = cost(mlp(after=lambda i: kp.layers.ActivityPenalty(penalty, name=f"size_{i}")))
    plain = mlp(after=lambda i: KeepsItsLoss())
    by_hand = ShowsByHand(plain.input, plain.output)
    by_hand.penalties = [layer for layer in plain.layers if isinstance(layer, KeepsItsLoss)]
    by_hand.means = [keras.metrics.Mean(name=f"size_{i}") for i in range(6)]
    shown, _ = cost(by_hand)
    assert ((named - unnamed) / 6, (shown - unnamed) / 6) == (6.0, 8.0)


def test_hints_cost_a_third_less_than_by_distiller():
    # With dropout XLA cannot merge the two runs of the student that Keras' `Distiller` makes.
    def network(name):
        hidden = [layers.Dense(64, activation="relu", name=f"hidden_{i}") for i in range(4)]
        return keras.Sequential(
            [keras.Input((64,)), layers.Dropout(0.3), *hidden, layers.Dense(10)], name=name
        )

    (student, teacher), hint = map(network, ("student", "teacher")), "hidden_3"
    teacher.trainable = False
    distiller = keras.distillation.Distiller(
        teacher, student, keras.distillation.FeatureDistillation("mse", hint, hint)
    )
    theirs, _ = cost(distiller)
    start = keras.Input((64,))
    both = keras.Model(start, {"answer": student(start), "teacher": teacher(start)})
    model = kp.models.HiddenOutputs(both, hidden={"seen": f"student/{hint}", "wanted": f"teacher/{hint}"})
    ours, _ = cost(
        model,
        loss={"answer": "mse", "teacher": None},
        y=lambda y: {"answer": y},
        hidden_losses={("seen", "wanted"): kp.regularizers.Hint(1.0, per="element")},
    )
    assert ours <= 0.7 * theirs


@pytest.mark.parametrize("name", ["DeCov", "Covariance", "BarlowTwins", "VICReg"])
def test_a_wide_layer_costs_no_features_by_features_matrix(name):
    import jax

    penalty = getattr(kp.regularizers, name)(1.0)
    x = np.random.RandomState(0).randn(128, 4096).astype("float32")

    def by_penalty(x):
        return penalty.measure([x, ops.roll(x, 1, axis=0)] if penalty.tensors == 2 else x)

    def by_features(x):
        # VICReg has one matrix for each view, BarlowTwins one between the two.
        views = [x, 2.0 * ops.roll(x, 1, axis=0)] if name == "VICReg" else [x]
        centered = [z - ops.mean(z, axis=0) for z in views]
        return sum(ops.sum(ops.square(ops.transpose(z) @ z)) for z in centered)

    def compiled(function):
        program = jax.jit(jax.value_and_grad(function)).lower(x).compile()
        flops, _, peak = measure.xla_counts(program)
        return flops, peak

    (ours, peak), (theirs, _) = compiled(by_penalty), compiled(by_features)
    assert ours * 10 <= theirs
    assert peak < 4 * 4096 * 4096
