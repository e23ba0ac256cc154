"""The tables of rows that a statistic of the batch describes, and what replicas exchange for it."""

from typing import Any, NamedTuple

from keras import ops, tree

from keras_penalties import _numerics
from keras_penalties._keras import replicas, sizes


class Table(NamedTuple):
    """A table of rows.

    Attributes:
        rows: `(rows, features)`, zeros where a mask drops the row.
        weights: the share of each row in a mean, or None if all rows count and the formula takes None.
        filled: whether any row counts.
    """

    rows: Any
    weights: Any
    filled: Any


def of_all_rows(rows, kept, formula, weights_optional, products):
    """`formula` of the tables of all replicas, one from each of `rows`; 0 if one of them is empty.

    Args:
        rows: the rows of this replica, one tensor per table.
        kept: for each table which rows count, or None for all.
        formula: a function of a list of tables; it returns a scalar, or a dict of them.
        weights_optional: whether `formula` takes None for the weights.
        products: how many features-by-features matrices `formula` sums over the rows, if it needs only sums;
            None if it needs the rows.
    """
    if replicas.replicas() == 1:
        tables = [_table(r, k, weights_optional) for r, k in zip(rows, kept, strict=True)]
        return _or_zero(formula(tables), tables)

    def of_rows():
        gathered = (
            replicas.gather(r, *([] if k is None else [k]), same_use=True)
            for r, k in zip(rows, kept, strict=True)
        )
        tables = [_table(r, k[0] if k else real, weights_optional) for (r, *k), real, _ in gathered]
        return _or_zero(formula(tables), tables)

    def of_sums():
        tables = [_own_table(r, k, n) for r, k, n in zip(rows, kept, counts, strict=True)]
        with replicas.own_rows():
            value = formula(tables)
        return _or_zero(value, tables)

    if products is None:
        value = of_rows()
    else:
        all_rows, counts = _counts(rows, kept)
        # Rows are sent once to each replica. Sums are sent twice: to be added, and to be returned.
        are_fewer = ops.sum(all_rows) < 2 * products * rows[0].shape[-1]
        value = sizes.either(replicas.known(are_fewer), of_rows, of_sums) if products else of_sums()
    return tree.map_structure(replicas.same_on_all, value)


def mean_of_rows(rows, kept, formula, weights_optional):
    """The same for a mean over the rows, for which each replica needs only the number of all rows: the mean
    over the replicas, which training takes, is the mean over all rows."""
    if replicas.replicas() == 1:
        return of_all_rows(rows, kept, formula, weights_optional, None)
    share = 1.0 / replicas.replicas()
    tables = [_own_table(r, k, n, share) for r, k, n in zip(rows, kept, _counts(rows, kept)[1], strict=True)]
    return _or_zero(formula(tables), tables)


def _table(rows, kept, weights_optional):
    if kept is None and weights_optional:
        return Table(rows, None, True if rows.shape[0] else ops.shape(rows)[0] > 0)
    weights = _numerics.row_weights(rows, kept)
    known = kept is None and rows.shape[0]
    return Table(_numerics.keep(rows, kept), weights, True if known else ops.sum(weights) > 0)


def _own_table(rows, kept, count, share=1.0):
    """The rows of this replica, with their shares in a mean over `count` rows, on all replicas."""
    counted = ops.ones_like(rows[:, 0]) if kept is None else ops.cast(kept, rows.dtype)
    count = ops.cast(count, rows.dtype)
    weights = counted / (_numerics.at_least_one(count) * share)
    return Table(_numerics.keep(rows, kept), weights, count > 0)


def _counts(rows, kept):
    """For each table how many rows it has on all replicas, and how many of them count; in one exchange."""
    sizes_of = [ops.cast(sizes.size(r), "int32") for r in rows]
    counted = [n if k is None else ops.sum(ops.cast(k, "int32")) for n, k in zip(sizes_of, kept, strict=True)]
    found = replicas.sum_over_replicas(ops.stack([*sizes_of, *counted]))
    return found[: len(rows)], [found[len(rows) + i] for i in range(len(rows))]


def _or_zero(value, tables):
    filled = [table.filled for table in tables if table.filled is not True]
    if not filled:
        return value
    filled = ops.all(ops.stack(filled))
    return tree.map_structure(lambda v: ops.where(filled, v, 0), value)
