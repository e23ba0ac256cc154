"""ActivityPenalty on several tensors at once, and on what it must refuse."""

import json

import keras
import numpy as np
import pytest

import keras_penalties as kp
from tests.layers.networks import compiled
from tests.support.helpers import dtype_of, tensor
from tests.support.own_penalty import Distance


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(6, 3)).astype("float32") for _ in range(2)]


def distance(a, b):
    return 0.5 * float(np.sum((np.float64(a) - b) ** 2)) / len(a)


def test_passes_both_on_and_adds_their_distance(pair):
    layer = kp.layers.ActivityPenalty(Distance(0.5))
    out = layer([tensor(pair[0], "float16"), tensor(pair[1])])
    assert [dtype_of(t) for t in out] == ["float16", "float32"]
    layer([tensor(t) for t in pair])
    np.testing.assert_allclose(float(layer.losses[-1]), distance(*pair), rtol=1e-5)


def test_in_a_model(pair):
    inputs = [keras.Input((3,)), keras.Input((3,))]
    a, b = kp.layers.ActivityPenalty([Distance(0.5), Distance(1.0)], name="apart")(inputs)
    model = compiled(keras.Model(inputs, keras.layers.Subtract()([a, b])))
    y = np.zeros((6, 3), "float32")
    logs = model.fit(pair, y, batch_size=6, validation_data=(pair, y), verbose=0).history
    np.testing.assert_allclose(logs["apart"], [3 * distance(*pair)], rtol=1e-5)
    np.testing.assert_allclose(logs["val_apart"], [3 * distance(*pair)], rtol=1e-5)


def test_each_keeps_its_mask():
    inputs = [keras.Input((4, 3)), keras.Input((4, 3))]
    a, b = kp.layers.ActivityPenalty(Distance(1.0))([keras.layers.Masking()(inputs[0]), inputs[1]])
    pool = keras.layers.GlobalAveragePooling1D
    model = keras.Model(inputs, [pool()(a), pool()(b)])
    x = np.ones((2, 4, 3), "float32")
    x[:, 2:] = 0.0
    masked, plain = model.predict([x, x], verbose=0)
    np.testing.assert_allclose(masked, np.ones((2, 3)))
    np.testing.assert_allclose(plain, np.full((2, 3), 0.5))


def test_a_mask_drops_what_it_should(pair):
    """What the masks drop reaches the penalty as zeros."""
    layer = kp.layers.ActivityPenalty(Distance(1.0))
    a, b = (np.stack([t, np.full_like(t, np.nan)], axis=1) for t in pair)
    mask = np.tile([True, False], (6, 1))
    layer([a, b], mask=[mask, mask])
    np.testing.assert_allclose(float(layer.losses[0]), 2 * distance(*pair), rtol=1e-5)


def test_saved_and_back(pair):
    layer = kp.layers.ActivityPenalty([Distance(0.5), Distance(0.25)], name="apart")
    saved = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    again = keras.saving.deserialize_keras_object(saved)
    again([tensor(t) for t in pair])
    np.testing.assert_allclose(float(again.losses[0]), 1.5 * distance(*pair), rtol=1e-5)


def test_another_number_of_tensors_is_refused_when_the_layer_is_called():
    one, two = kp.layers.ActivityPenalty(kp.regularizers.L2(0.1)), kp.layers.ActivityPenalty(Distance(0.1))
    x = keras.Input((3,))
    with pytest.raises(ValueError, match=r"L2 measures one tensor.*list of 2"):
        one([x, x])
    with pytest.raises(ValueError, match=r"Distance compares 2 tensors.*Received: KerasTensor"):
        two(x)
    with pytest.raises(ValueError, match=r"Distance compares 2 tensors.*list of 3"):
        two([x, x, x])
    with pytest.raises(ValueError, match=r"L2, given to .*, measures one tensor.*list of 2"):
        kp.layers.ActivityPenalty("l2")([x, x])


def test_another_number_of_masks_is_refused(pair):
    with pytest.raises(
        ValueError, match=r"`mask` of Distance must be one mask for each of the 2 tensors.*1 mask"
    ):
        Distance(0.1).measure(pair, [np.ones(6, bool)])
