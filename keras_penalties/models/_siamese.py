"""One encoder for two inputs, and the distance between the two embeddings."""

from typing import Any, Literal, Self

import keras
import numpy as np
from keras import tree

from keras_penalties._serialization import made, register
from keras_penalties._types import Config, Tensor, Tensors
from keras_penalties._value_checks import ChecksFirstBatch
from keras_penalties.layers import CosineDistance, EuclideanDistance
from keras_penalties.models._base import ModelOfModels, inputs_of

_DISTANCES = {"euclidean": EuclideanDistance, "cosine": CosineDistance}


@register
class Siamese(ModelOfModels):
    """The distance between the embeddings of two inputs by one encoder.

    `fit([a, b], similar)` trains it, usually with `losses.Contrastive`; `predict([a, b])` returns the
    distances, and `embed(x)` the embedding of one input. Penalties inside the encoder count once for
    each of its two uses, on every backend. If the encoder has several inputs, each of `a`, `b` and `x` is
    an input of the encoder, a list or a dict: `fit([[a1, a2], [b1, b2]], similar)`.

    Args:
        encoder: a built model with one output, the embedding `(batch, ..., features)`.
        distance: `"euclidean"`, `"cosine"`, or a layer that takes a list of two tensors.
            Defaults to `"euclidean"`.
        name: the name of this model.

    Example:

    >>> import keras, numpy as np, keras_penalties as kp
    >>> encoder = keras.Sequential([keras.Input((2,)), keras.layers.Identity()])
    >>> model = kp.models.Siamese(encoder)
    >>> pair = [np.array([[1.0, 2.0]]), np.array([[4.0, 6.0]])]
    >>> float(model.predict(pair, verbose=0)[0, 0])
    5.0

    Raises:
        TypeError: if `encoder` is not a Keras model, or `distance` is neither a name nor a layer.
        ValueError: if `encoder` has several outputs, or is not built; at `fit`, if inputs and labels differ
            in length, or the loss rejects the first labels.

    Source: Bromley, Guyon, LeCun, Säckinger and Shah, [Signature Verification Using a "Siamese" Time Delay
    Neural
    Network](https://papers.nips.cc/paper/769-signature-verification-using-a-siamese-time-delay-neural-network),
    NIPS 1993.
    """

    def __init__(
        self,
        encoder: keras.Model,
        distance: Literal["euclidean", "cosine"] | keras.layers.Layer = "euclidean",
        name: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(name=name, **kwargs)
        inputs_of(encoder, "encoder", "Siamese")
        named = isinstance(distance, str) and distance in _DISTANCES
        layer: Any = _DISTANCES[distance](name="distance") if named else distance
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(
                "`distance` of Siamese must be 'euclidean', 'cosine' or a layer that takes a list of two "
                f"tensors. Received: {distance!r} (of type {type(distance).__name__})."
            )
        self.encoder = encoder
        self.distance = layer
        first, second = (_inputs_like(encoder, side) for side in ("first", "second"))
        # As one graph, so that on JAX the second use of the encoder does not erase the first one's losses.
        self.pair = keras.Model([first, second], layer([encoder(first), encoder(second)]), name="pair")
        self.build_as_graph()

    def call(self, inputs: Tensors, training: bool | None = None) -> Tensors:
        return self.pair(inputs, training=training)

    def compute_output_spec(self, inputs: Tensors, training: bool | None = None) -> Any:
        return self.pair.compute_output_spec(inputs)

    def embed(self, x: Tensors, **kwargs: Any) -> Tensor:
        """The embeddings of `x`, as `predict` returns them, with the same arguments."""
        kwargs.setdefault("verbose", 0)
        return self.encoder.predict(x, **kwargs)

    @property
    def graph(self) -> keras.Model:
        """The model that `export` writes: the distance of a pair, from Keras layers and a distance layer."""
        return self.pair

    def fit(self, x: Tensors = None, y: Tensors = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        lengths, inputs = [len(a) for a in tree.flatten((x, y)) if hasattr(a, "shape")], self.encoder.inputs
        unequal = len(lengths) != 2 * len(inputs) + 1 or len(set(lengths)) != 1
        if isinstance(x, (list, tuple)) and (len(x) != 2 or unequal):
            each = "two arrays" if len(inputs) == 1 else f"twice the {len(inputs)} inputs of the encoder"
            raise ValueError(
                f"Siamese.fit takes `[first, second], similar`: {each} and one label per pair, all of "
                f"the same length. Received: arrays of {', '.join(map(str, lengths))} rows."
            )
        return super().fit(x, y, *args, **kwargs)

    def check_batch(self, x: Tensors, y: Tensors) -> None:
        if isinstance(self.loss, ChecksFirstBatch):
            self.loss.refuse(y, keras.ops.convert_to_numpy(self(x)))

    def get_config(self) -> Config:
        serialize = keras.saving.serialize_keras_object
        encoder, distance = serialize(self.encoder), serialize(self.distance)
        return {**super().get_config(), "encoder": encoder, "distance": distance}

    @classmethod
    def from_config(cls, config: Config, custom_objects: dict | None = None) -> Self:
        return made(cls, config, "encoder", "distance", custom_objects=custom_objects)


def _inputs_like(encoder, side):
    """Inputs in the structure in which `encoder` takes its own."""
    structure = encoder.inputs[0] if isinstance(encoder, keras.Sequential) else encoder.input

    def like(x):
        name = side if x is structure else f"{side}_{x.name}"
        return keras.Input(batch_shape=x.shape, dtype=x.dtype, name=name)

    return tree.map_structure(like, structure)


def balanced_pairs(x: Tensors, labels: Tensor, count: int | None = None, seed: int | None = None) -> tuple:
    """Pairs from labelled data, half of them of the same class and half of different ones, in random order.

    Args:
        x: an array `(rows, ...)`.
        labels: `(rows,)`, the class of each row. A negative number means that it has no label; then
            it is in no pair.
        count: the number of pairs, an even number >= 2. Defaults to twice the labelled rows: each is the
            first of one pair of each kind.
        seed: the random seed.

    Returns:
        A pair of the inputs `[first, second]`, two arrays `(count, ...)`, and the labels `similar`, a float32
        array `(count,)` with 1 for pairs of the same class.

    Example:

    >>> import numpy as np, keras_penalties as kp
    >>> x, labels = np.arange(6), np.array([0, 0, 0, 1, 1, 1])
    >>> (first, second), similar = kp.models.balanced_pairs(x, labels, seed=0)
    >>> len(first), float(similar.mean())
    (12, 0.5)
    >>> bool(np.all((labels[first] == labels[second]) == (similar == 1)))
    True

    Raises:
        ValueError: if lengths differ, a class has only one row, there is only one class, or `count` is
            not even.
    """
    x, labels = np.asarray(x), np.asarray(labels)
    if labels.ndim != 1 or len(x) != len(labels):
        raise ValueError(
            "`labels` of balanced_pairs must hold one class per row of `x`. Received: labels of shape "
            f"{labels.shape} for {len(x)} rows."
        )
    if labels.dtype.kind in "if":
        x, labels = x[labels >= 0], labels[labels >= 0]
    classes, sizes = np.unique(labels, return_counts=True)
    if len(classes) < 2 or sizes.min() < 2:
        raise ValueError(
            "`labels` of balanced_pairs must have at least two classes, each with at least two rows; a "
            "negative label means none. "
            f"Received: {dict(zip(classes.tolist(), sizes.tolist(), strict=True))}."
        )
    count = 2 * len(x) if count is None else count
    if count < 2 or count % 2:
        raise ValueError(f"`count` of balanced_pairs must be an even number >= 2. Received: {count}.")
    random = np.random.default_rng(seed)
    rows = np.concatenate([random.permutation(len(x)) for _ in range(-(-count // 2 // len(x)))])
    first = np.tile(rows[: count // 2], 2)
    similar = np.repeat([1.0, 0.0], count // 2).astype("float32")
    members = {c: np.flatnonzero(labels == c) for c in classes}
    others = {c: np.flatnonzero(labels != c) for c in classes}
    second = np.array(
        [_partner(r, s, labels, members, others, random) for r, s in zip(first, similar, strict=True)]
    )
    order = random.permutation(count)
    return [x[first[order]], x[second[order]]], similar[order]


def _partner(row, similar, labels, members, others, random):
    if not similar:
        return random.choice(others[labels[row]])
    same = members[labels[row]]
    return random.choice(same[same != row])
