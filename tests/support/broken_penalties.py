"""Penalties that break one rule of `kp.testing.check_penalty` each."""

import keras
from keras import ops

import keras_penalties as kp
from tests.support.helpers import BACKEND

register = keras.saving.register_keras_serializable(package="wrong")
BatchStatisticPenalty = kp.regularizers.BatchStatisticPenalty
PerExamplePenalty = kp.regularizers.PerExamplePenalty


@register
class LogOfActivations(PerExamplePenalty):
    def elements(self, x):
        return ops.log(x)


@register
class Drawn(PerExamplePenalty):
    def elements(self, x):
        return ops.square(x) * keras.random.uniform(ops.shape(x), dtype=x.dtype)


@register
class InFloat32(PerExamplePenalty):
    def elements(self, x):
        return ops.square(ops.cast(x, "float32"))


@register
class SumOfExponentials(BatchStatisticPenalty):
    def statistic(self, rows, weights):
        return ops.sum(weights * ops.log(ops.sum(ops.exp(rows), axis=-1)))


@register
class MeanOfAll(kp.regularizers.Penalty):
    def value(self, x, mask):
        return ops.mean(ops.square(x))


@register
class Spread(BatchStatisticPenalty):
    """Dropped rows are zeros, and no longer after the mean was subtracted."""

    def statistic(self, rows, weights):
        rows = rows - ops.sum(rows * weights[:, None], axis=0)
        return ops.sum(ops.square(ops.transpose(rows) @ rows))


@register
class MeanDistance(kp.regularizers.Penalty):
    tensors = 2

    def value(self, x, mask):
        return ops.mean(ops.sum(ops.square(x[0] - x[1]), axis=-1))


@register
class MeanOfSteps(PerExamplePenalty):
    def examples(self, x, mask):
        return ops.mean(ops.square(x), axis=(1, 2))


@register
class SumOfAll(kp.regularizers.Penalty):
    def value(self, x, mask):
        return ops.sum(ops.square(x))


@register
class NormOfAll(kp.regularizers.Penalty):
    """Grows with the root of the batch."""

    def value(self, x, mask):
        total = ops.sum(ops.square(x))
        return ops.where(total > 0, ops.sqrt(ops.where(total > 0, total, 1.0)), 0.0)


@register
class TimesRows(BatchStatisticPenalty):
    def statistic(self, rows, weights):
        count = ops.sum(ops.cast(weights > 0, rows.dtype))
        return -count * ops.sum(ops.square(ops.sum(rows * weights[:, None], axis=0)))


@register
class AllPairs(BatchStatisticPenalty):
    def statistic(self, rows, weights):
        return ops.sum(ops.square(rows @ ops.transpose(rows)))


@register
class Length(PerExamplePenalty):
    """The gradient of a root is infinite at zero."""

    def examples(self, x, mask):
        return ops.sqrt(ops.sum(ops.square(x), axis=-1))


@register
class Standardized(BatchStatisticPenalty):
    """Divides by the deviation, which is zero for constant features."""

    def statistic(self, rows, weights):
        share = weights[:, None]
        rows = rows - ops.sum(rows * share, axis=0)
        deviation = ops.sqrt(ops.sum(share * ops.square(rows), axis=0))
        return ops.sum(share * (rows / deviation) ** 4)


@register
class NotQuiteConstant(BatchStatisticPenalty):
    """Compares a variance with 0, which rounding of the mean makes positive."""

    def statistic(self, rows, weights):
        share = weights[:, None]
        rows = ops.where(share > 0, rows - ops.sum(rows * share, axis=0), 0.0)
        variance = ops.sum(share * ops.square(rows), axis=0)
        deviation = ops.sqrt(ops.where(variance > 0, variance, 1.0))
        return ops.sum(share * ops.where(variance > 0, (rows / deviation) ** 4, 0.0))


@register
class Unbiased(BatchStatisticPenalty):
    """Divides by one row less."""

    def statistic(self, rows, weights):
        share = weights[:, None]
        squares = ops.square(rows - ops.sum(rows * share, axis=0))
        return ops.sum(share * squares) / (1.0 - ops.sum(ops.square(weights)))


@register
class DistanceOfTensors(PerExamplePenalty):
    tensors = 2

    def examples(self, x, mask):
        return ops.sqrt(ops.sum(ops.square(x[0] - x[1]), axis=-1))


@register
class HalfOfAGradient(PerExamplePenalty):
    def elements(self, x):
        return x * ops.stop_gradient(x)


@register
class Rounded(PerExamplePenalty):
    """Has no gradient, and no finite differences."""

    def elements(self, x):
        return ops.round(x)


@register
class CountOfLarge(PerExamplePenalty):
    def elements(self, x):
        return ops.cast(ops.abs(x) > 0.5, x.dtype)


@register
class Detached(PerExamplePenalty):
    tensors = 2

    def elements(self, x):
        return ops.sign(x[0]) * ops.stop_gradient(ops.sign(x[1]))


@register
class OtherName(PerExamplePenalty):
    def __init__(self, strength, power=4):
        super().__init__(strength)
        self._power = power

    def elements(self, x):
        return x**self._power


@register
class Changed(PerExamplePenalty):
    def __init__(self, strength, factor=2.0):
        super().__init__(strength)
        self.factor = 2.0 * factor

    def elements(self, x):
        return self.factor * ops.square(x)


class Loose(PerExamplePenalty):
    def elements(self, x):
        return ops.square(x)


@register
class WithStrength(PerExamplePenalty):
    def elements(self, x):
        return self.strength * ops.square(x)


@register
class ComparesSizes(PerExamplePenalty):
    def check_shapes(self, shapes):
        if shapes[0][0] < 1:
            raise ValueError("no rows")

    def elements(self, x):
        return ops.square(x)


@register
class OtherWeights(PerExamplePenalty):
    """Has as many weights as there were calls."""

    calls = 0

    def learned(self, shapes):
        OtherWeights.calls += 1
        return {"scale": {"shape": (OtherWeights.calls,), "initializer": "ones"}}

    def elements(self, x):
        return ops.square(x)


@register
class InPython(PerExamplePenalty):
    def elements(self, x):
        return ops.square(x) if float(ops.convert_to_numpy(ops.sum(x))) < 1e9 else x


WRONG = {
    "value": [LogOfActivations, Drawn],
    "float64": [InFloat32] if BACKEND == "tensorflow" else [],  # elsewhere `ops.mean` of Keras does the same
    "half precision": [SumOfExponentials],
    "mask": [MeanOfAll, Spread, MeanDistance],
    "padding": [MeanOfSteps],
    "batch size": [SumOfAll, NormOfAll, TimesRows, AllPairs],
    "finite": [Length, Standardized, Unbiased, DistanceOfTensors],
    "equal rows": [NotQuiteConstant],
    "gradient": [HalfOfAGradient, Rounded, CountOfLarge, Detached],
    "config": [OtherName, Changed, Loose],
    "strength": [WithStrength],
    "attaching": [ComparesSizes],
    "saving": [OtherWeights],
    "compiled": [InPython] if BACKEND == "tensorflow" else [],  # on torch nothing is compiled
}
