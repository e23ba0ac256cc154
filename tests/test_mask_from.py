"""A mask that a user names, or gives, and a mask that Keras keeps: what both count is penalized."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import keras_penalties as kp
from tests.support.attach_networks import Block
from tests.support.helpers import BACKEND, to_numpy

STRENGTH = 0.5
TOKENS = np.array([[3, 1, 2, 0, 0], [1, 1, 0, 0, 0], [2, 3, 1, 2, 1], [1, 2, 3, 0, 0]], "int32")
GIVEN = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 1, 1], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1]], "int32")
INPUTS = {"tokens": TOKENS, "given": GIVEN}


@keras.saving.register_keras_serializable("tests")
class Absolute(keras.losses.Loss):
    """A loss whose value is the mean of the hidden tensor over what its mask counts."""

    def call(self, y_true, y_pred):
        return ops.mean(ops.abs(y_pred), axis=-1)


def network(keras_mask=True, way="none", mask="given"):
    """Tokens and a mask, a layer that is used twice, and a block with layers inside."""
    tokens = keras.Input((5,), name="tokens", dtype="int32")
    given = keras.Input((5,), name=mask, dtype="int32")
    h = layers.Embedding(4, 6, mask_zero=keras_mask, name="embedding")(tokens)
    if way == "layer":
        h = kp.layers.ActivityPenalty(kp.regularizers.L2(STRENGTH), name="shown")(h, mask=given)
    twice = layers.Dense(6, "tanh", name="twice")
    h = twice(twice(h))
    block = Block(4, name="block")
    block.supports_masking = True
    h = block(h)
    kept = layers.Reshape((5, 1))(ops.cast(given, "float32"))
    out = layers.Dense(2, name="out")(layers.GlobalMaxPooling1D()(h * kept))
    return keras.Model({"tokens": tokens, mask: given}, out, name="net")


def counted(keras_mask):
    return (GIVEN > 0) & ((TOKENS > 0) if keras_mask else True)


def l2_of(x, mask):
    x, mask = np.asarray(x, "float64"), mask[..., None]
    return STRENGTH * np.sum(np.where(mask, x, 0.0) ** 2) / max(1, np.sum(mask.any(axis=(1, 2))))


def tensor_at(model, key):
    """The tensor that `key` means, computed from the layers of the model."""
    h = model.get_layer("embedding")(TOKENS)
    if key == "embedding":
        return to_numpy(h)
    twice, block = model.get_layer("twice"), model.get_layer("block")
    h = twice(h)
    return to_numpy(h if key == "twice@0" else block.inner(twice(h)))


KEYS = ["embedding", "twice@0", "block/inner"]


@pytest.mark.parametrize("keras_mask", [True, False])
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("way", ["layer", "name", "compiled"])
def test_what_both_masks_count_is_penalized(way, key, keras_mask):
    model = network(keras_mask, way)
    expected = l2_of(tensor_at(model, key), counted(keras_mask))
    if way == "layer":
        if key != "embedding":
            return
        model(INPUTS)
        (found,) = model.losses
    elif way == "name":
        penalized = kp.penalize(model, {key: kp.regularizers.L2(STRENGTH)}, mask_from="given")
        penalized(INPUTS)
        (found,) = penalized.losses
    else:
        wrapped = kp.models.HiddenOutputs(model, hidden=[key], mask_from={key: "given"})
        wrapped.compile(loss=None, hidden_losses={key: kp.regularizers.L2(STRENGTH)})
        found = wrapped.evaluate(INPUTS, np.zeros((4, 2)), verbose=0, batch_size=4, return_dict=True)["loss"]
    np.testing.assert_allclose(float(found), expected, rtol=1e-5)


@pytest.mark.parametrize("keras_mask", [True, False])
def test_losses_with_labels_leave_out_what_either_mask_drops(keras_mask, tmp_path):
    model = network(keras_mask)
    wrapped = kp.models.HiddenOutputs(model, hidden=["block/inner"], mask_from="given")
    wrapped.compile(loss=None, hidden_losses={"block/inner": Absolute()})
    wrapped.save(tmp_path / "model.keras")
    values, mask = np.abs(tensor_at(model, "block/inner")).mean(axis=-1), counted(keras_mask)
    before = to_numpy(model(INPUTS))
    for found in (wrapped, keras.saving.load_model(tmp_path / "model.keras")):
        logs = found.evaluate(INPUTS, np.zeros((4, 2)), verbose=0, batch_size=4, return_dict=True)
        np.testing.assert_allclose(logs["loss"], values[mask].mean(), rtol=1e-5)
        np.testing.assert_array_equal(to_numpy(found(INPUTS)), before)


def test_a_name_for_one_of_several():
    wrapped = kp.models.HiddenOutputs(
        network(), hidden=["embedding", "out"], mask_from={"embedding": "given"}
    )
    hidden_losses = dict.fromkeys(["embedding", "out"], kp.regularizers.L2(STRENGTH))
    wrapped.compile(loss=None, hidden_losses=hidden_losses)
    logs = wrapped.evaluate(INPUTS, np.zeros((4, 2)), verbose=0, batch_size=4, return_dict=True)
    plain = to_numpy(wrapped.model(INPUTS))
    np.testing.assert_allclose(
        logs["embedding_loss"], l2_of(tensor_at(wrapped.model, "embedding"), counted(True)), rtol=1e-5
    )
    np.testing.assert_allclose(logs["out_loss"], STRENGTH * np.sum(plain**2) / 4, rtol=1e-5)


@pytest.mark.parametrize(
    "mask_from, error, words",
    [
        ("zzz", ValueError, "`mask_from` names 'zzz', but no model or layer around 'embedding' has an input"),
        (3, TypeError, "`mask_from` of HiddenOutputs must be the name of an input.*Received: 3"),
        (
            {"zzz": "given"},
            ValueError,
            "`mask_from` of HiddenOutputs has the key 'zzz', which is not a key of",
        ),
    ],
)
def test_names_of_masks_that_are_refused(mask_from, error, words):
    with pytest.raises(error, match=words):
        kp.models.HiddenOutputs(network(), hidden=["embedding"], mask_from=mask_from)


@pytest.mark.parametrize("way", ["name", "compiled"])
def test_a_mask_that_does_not_fit_is_refused(way):
    with pytest.raises(ValueError, match=r"`mask.*must have the shape of its tensor up to the features"):
        if way == "name":
            kp.penalize(network(), {"out": kp.regularizers.L2(STRENGTH)}, mask_from="given")
        else:
            wrapped = kp.models.HiddenOutputs(network(), hidden=["out"], mask_from="given")
            wrapped.compile(loss=None, hidden_losses={"out": Absolute()})
            wrapped.evaluate(INPUTS, np.zeros((4, 2)), verbose=0, batch_size=4)


class Net(keras.Model):
    """A model whose mask is an argument of `call`, and need not be given."""

    def __init__(self):
        super().__init__(name="net")
        self.embedding, self.block = layers.Embedding(4, 6, name="embedding"), Block(4, name="block")

    def call(self, tokens, given=None):
        return self.block(self.embedding(tokens))


def own_loop(run, model):
    """The losses of `model`, and the gradients of their sum, in a loop of a user's own that calls
    `run(training)`, without `training` if that is empty."""
    variables = model.trainable_variables
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            run()
            loss = sum(model.losses)
        return loss, tape.gradient(loss, [v.value for v in variables])
    if BACKEND == "torch":
        model.zero_grad()
        run()
        loss = sum(model.losses)
        loss.backward()
        return loss.detach(), [v.value.grad for v in variables]
    import jax

    def loss_of(values):
        with keras.StatelessScope(zip(variables, values, strict=True), collect_losses=True):
            run()
            return sum(model.losses)

    return jax.value_and_grad(loss_of)([v.value for v in variables])


def net():
    model = Net()
    model(TOKENS, given=GIVEN)
    return model


MAKERS = {
    "functional": (lambda: network(False), lambda model, **options: model(INPUTS, **options)),
    "subclassed": (net, lambda model, **options: model(TOKENS, given=GIVEN, **options)),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_loop_of_ones_own_that_does_not_say_that_it_trains(kind):
    """The penalty counts as it does with `training=True`, and as an `ActivityPenalty` does."""
    make, run = MAKERS[kind]
    model = kp.penalize(make(), {"block/inner": kp.regularizers.L2(STRENGTH)}, mask_from="given")
    h = model.get_layer("embedding")(TOKENS)
    if kind == "functional":
        h = model.get_layer("twice")(model.get_layer("twice")(h))
    expected = l2_of(to_numpy(model.get_layer("block").inner(h)), GIVEN > 0)
    loss, slopes = own_loop(lambda: run(model), model)
    np.testing.assert_allclose(to_numpy(loss), expected, rtol=1e-5)
    _, trained = own_loop(lambda: run(model, training=True), model)
    for ours, theirs in zip(slopes, trained, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            np.testing.assert_allclose(to_numpy(dense(ours)), to_numpy(dense(theirs)), rtol=1e-5)


def dense(slope):
    return ops.convert_to_tensor(slope)


WITHOUT_MASK = {
    "a part": (
        lambda model, **options: model.block(ops.ones((4, 5, 6)), **options),
        "'given', and runs outside of the model",
    ),
    "not given": (
        lambda model, **options: model(TOKENS, **options),
        r"'given', which was not passed.*model\(x, given=\.\.\.\)",
    ),
}


@pytest.mark.parametrize("kind", WITHOUT_MASK)
def test_a_mask_that_is_not_to_be_had(kind):
    """In a step of training this is an error at once, and elsewhere for who reads the losses."""
    penalized = kp.penalize(net(), {"block/inner": kp.regularizers.L2(STRENGTH)}, mask_from="given")
    run, words = WITHOUT_MASK[kind]
    run(penalized)  # as `generate` of KerasHub does
    with pytest.raises(ValueError, match=f"'inner' takes its mask from the input {words}"):
        own_loop(lambda: run(penalized), penalized)
    with pytest.raises(ValueError, match=f"'inner' takes its mask from the input {words}"):
        run(penalized, training=True)
    penalized(TOKENS, given=GIVEN)  # the next pass is a new one
    assert len(penalized.losses) == 1


def test_a_mask_that_hidden_outputs_cannot_hand_on():
    with pytest.raises(ValueError, match=r"'given', an argument of `call` of 'net' \(Net\).*penalize"):
        kp.models.HiddenOutputs(net(), hidden=["block/inner"], mask_from="given")


@pytest.mark.parametrize("way", ["name", "compiled"])
def test_a_preactivation_has_the_mask_of_the_output(way):
    steps = keras.Input((5, 3))
    h = layers.Dense(4, "relu", name="dense")(layers.Masking()(steps))
    model = keras.Model(steps, layers.Dense(2, name="out")(layers.GlobalMaxPooling1D()(h)))
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
    x[TOKENS == 0] = 0.0
    dense = model.get_layer("dense")
    dense.bias.assign(np.ones(4, "float32"))
    kernel, bias = dense.get_weights()
    key, penalty = "dense:preactivation", kp.regularizers.L2(STRENGTH)
    if way == "name":
        model = kp.penalize(model, {key: penalty})
        model.compile("sgd")
        key = "dense_preactivation_penalty"
    else:
        model = kp.models.HiddenOutputs(model, hidden={"before": key})
        model.compile(loss=None, hidden_losses={"before": penalty})
        key = "before_loss"
    found = model.evaluate(x, np.zeros((4, 2), "float32"), verbose=0, return_dict=True)[key]
    np.testing.assert_allclose(found, l2_of(x @ kernel + bias, TOKENS > 0), rtol=1e-5)
