"""What can be punished: each class is one published formula, given by `measure`."""

from keras_penalties.regularizers._decorrelation import DeCov as DeCov
from keras_penalties.regularizers._families import BatchStatisticPenalty as BatchStatisticPenalty
from keras_penalties.regularizers._families import PerExamplePenalty as PerExamplePenalty
from keras_penalties.regularizers._magnitude import L1 as L1
from keras_penalties.regularizers._magnitude import L1L2 as L1L2
from keras_penalties.regularizers._magnitude import L2 as L2
from keras_penalties.regularizers._penalty import Penalty as Penalty
from keras_penalties.regularizers._sparsity import KLSparsity as KLSparsity

__all__ = [
    "BatchStatisticPenalty",
    "DeCov",
    "KLSparsity",
    "L1",
    "L1L2",
    "L2",
    "Penalty",
    "PerExamplePenalty",
]
