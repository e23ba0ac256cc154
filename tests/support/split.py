"""Statistics of a batch that is split over replicas: their values and gradients, beside those of one.

The replicas have different numbers of rows. In one of the sizes they send sums, in the other rows.
"""

import itertools
import sys

import keras
import numpy as np

from keras_penalties.regularizers import BatchStatisticPenalty, GaussianKL
from tests import contracts, contracts_pairs
from tests.support import replicated
from tests.support.helpers import tensor, to_numpy

FEW = ("Variance", "BarlowTwins", "InfoNCE")
SIZES = ((20, 3), (8, 24))


def cases(only=()):
    """Penalties, tensors and masks by name: one case of each statistic, with a mask and without."""
    first = {}
    for case in [*contracts.PENALTIES, *contracts_pairs.SEVERAL_TENSORS]:
        if issubclass(case.cls, (BatchStatisticPenalty, GaussianKL)) and case.cls.__name__ in (
            only or [case.cls.__name__]
        ):
            first.setdefault((case.cls, isinstance(case, contracts.PenaltyCase)), case)
    for case in first.values():
        for shape in SIZES:
            x = case.draw(shape)
            xs = x if isinstance(x, list) else [x]
            masks = [np.arange(shape[0]) % 3 != 1]
            if shape == SIZES[0] or keras.backend.backend() == "torch":  # TensorFlow takes long to build each
                masks.append(None)
            for mask in masks:
                yield f"{case.name} of {len(xs)}, {shape}, {mask is not None}", case.make(), xs, mask


def ends(rows, count):
    """Where the rows of each replica start and end: half of all are on the last."""
    middle = np.linspace(0, rows // 2, count, dtype=int)
    return [*middle, rows]


def value_and_gradients(penalty, xs, mask):
    """The value and the gradients, as tensors."""
    masks = None if mask is None else [mask] * len(xs)

    def measure(xs):
        return penalty.measure(*((list(xs), masks) if len(xs) > 1 else (xs[0], mask)))

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(xs)
            value = measure(xs)
        return [value, *tape.gradient(value, xs, unconnected_gradients="zero")]
    xs = [x.detach().clone().requires_grad_() for x in xs]
    value = measure(xs)
    value.backward()
    return [value.detach(), *(0 * x.detach() if x.grad is None else x.grad for x in xs)]


def of_one(only=()):
    """What one replica computes from all rows."""
    return {
        name: [
            to_numpy(t)
            for t in value_and_gradients(penalty, [tensor(x) for x in xs], None if m is None else tensor(m))
        ]
        for name, penalty, xs, m in cases(only)
    }


def of_process(i, count, only=()):
    """What process `i` of torch computes from its rows."""
    found = {}
    for name, penalty, xs, mask in cases(only):
        part = slice(*ends(len(xs[0]), count)[i : i + 2])
        own = None if mask is None else tensor(mask[part])
        found[name] = [to_numpy(t) for t in value_and_gradients(penalty, [tensor(x[part]) for x in xs], own)]
    return found


def of_tensorflow_replicas(count, only=()):
    """What each replica of TensorFlow computes from its rows."""
    import tensorflow as tf

    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(count)])
    found = [{} for _ in range(count)]

    def split(array):
        if array is None:
            return None
        places = ends(len(array), count)
        of = [tensor(array[start:end]) for start, end in itertools.pairwise(places)]
        return strategy.experimental_distribute_values_from_function(
            lambda context: of[context.replica_id_in_sync_group]
        )

    for name, penalty, xs, mask in cases(only):
        step = tf.function(
            lambda xs, mask, penalty=penalty: strategy.run(
                lambda xs, mask: value_and_gradients(penalty, xs, mask), (xs, mask)
            ),
            autograph=False,
        )
        for tensors in step([split(x) for x in xs], split(mask)):
            for i, t in enumerate(strategy.experimental_local_results(tensors)):
                found[i].setdefault(name, []).append(to_numpy(t))
    return found


def apart(one, replicas):
    """The largest differences, by name: of values relative to them, of gradients to the largest."""
    found = {}
    for name, (value, *slopes) in one.items():
        # Training takes the mean over the replicas.
        values = np.mean([replica[name][0] for replica in replicas])
        found[name] = abs(values - value) / max(abs(value), 0.01)
        for i, slope in enumerate(slopes, 1):
            together = np.concatenate([replica[name][i] for replica in replicas]) / len(replicas)
            error = np.max(np.abs(together - slope)) / max(np.max(np.abs(slope)), 1e-6)
            found[name] = max(found[name], error)
    return {name: float(error) for name, error in found.items()}


def main(setup, _, file, *only):
    """Write what one process computes: `process-0-2-PORT`, as for `replicated`."""
    _, i, count, port = setup.split("-")
    replicated.join(int(i), int(count), port)
    found = of_process(int(i), int(count), only)
    np.savez(file, **{f"{name}|{k}": t for name, tensors in found.items() for k, t in enumerate(tensors)})


def load(file):
    """What `main` has written."""
    found = {}
    with np.load(file) as stored:
        for key in stored.files:
            found.setdefault(key.rpartition("|")[0], []).append(stored[key])
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
