"""The two tables at the top of the page: a training step compared with one with Keras' own penalties, and how
many formulas take no longer than another package's."""

import math

from benchmarks.attach import BASES

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
WAYS = {
    "ours, argument": "`activity_regularizer=`",
    "ours, ten named layers": "`ActivityPenalty`",
    "ours, penalize": "`penalize`",
    "ours, HiddenOutputs": "`HiddenOutputs`",
}
NO_LONGER = 1.05  # a ratio closer to 1 is no difference


def tables(record):
    """Of the whole record, of which the other tables show one part each."""
    attached = {label: record.get(f"attach-{name}") for name, label in BACKENDS.items()}
    attached = {label: part["models"].values() for label, part in attached.items() if part}
    yield (
        "Time of a training step with ten `L2` penalties / with ten of Keras' own, in three networks",
        ["attached with", *attached],
        [[label, *(_range(models, way) for models in attached.values())] for way, label in WAYS.items()],
    )
    compared = {label: record.get(f"costs-{name}") for name, label in BACKENDS.items()}
    compared = {
        label: [row["time"] for row in part["rows"] if row["beside"]]
        for label, part in compared.items()
        if part
    }
    sizes = [*next(iter(compared.values()))[0]]
    yield (
        f"Formulas that take at most {NO_LONGER} times as long as another package's, by rows x features",
        ["", *sizes],
        [[label, *(_share(times, size) for size in sizes)] for label, times in compared.items()],
    )


def _range(models, way):
    ratios = [rows[way][BASES[1]] for rows in models]
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def _share(times, size):
    found = [time[size] for time in times if not math.isnan(time[size])]
    return f"{sum(ratio <= NO_LONGER for ratio in found)} of {len(found)}"
