"""The penalties: each class is one published formula, given by `measure`."""

from keras_penalties.regularizers._attention_transfer import AttentionTransfer as AttentionTransfer
from keras_penalties.regularizers._cka import CKA as CKA
from keras_penalties.regularizers._coral import CORAL as CORAL
from keras_penalties.regularizers._decorrelation import Covariance as Covariance
from keras_penalties.regularizers._decorrelation import DeCov as DeCov
from keras_penalties.regularizers._decorrelation import Variance as Variance
from keras_penalties.regularizers._distribution import Confidence as Confidence
from keras_penalties.regularizers._distribution import Entropy as Entropy
from keras_penalties.regularizers._distribution import LoadBalance as LoadBalance
from keras_penalties.regularizers._distribution import ZLoss as ZLoss
from keras_penalties.regularizers._families import BatchStatisticPenalty as BatchStatisticPenalty
from keras_penalties.regularizers._families import PerExamplePenalty as PerExamplePenalty
from keras_penalties.regularizers._gaussian_kl import GaussianKL as GaussianKL
from keras_penalties.regularizers._gradient_penalty import GradientPenalty as GradientPenalty
from keras_penalties.regularizers._group_sparsity import GroupLasso as GroupLasso
from keras_penalties.regularizers._group_sparsity import Hoyer as Hoyer
from keras_penalties.regularizers._group_sparsity import HoyerSquare as HoyerSquare
from keras_penalties.regularizers._hint import Hint as Hint
from keras_penalties.regularizers._info_nce import InfoNCE as InfoNCE
from keras_penalties.regularizers._koleo import KoLeo as KoLeo
from keras_penalties.regularizers._magnitude import L1 as L1
from keras_penalties.regularizers._magnitude import L1L2 as L1L2
from keras_penalties.regularizers._magnitude import L2 as L2
from keras_penalties.regularizers._magnitude import Excess as Excess
from keras_penalties.regularizers._marginal_entropy import MarginalEntropy as MarginalEntropy
from keras_penalties.regularizers._match import Match as Match
from keras_penalties.regularizers._mmd import MMD as MMD
from keras_penalties.regularizers._penalty import Penalty as Penalty
from keras_penalties.regularizers._relational import RelationalKD as RelationalKD
from keras_penalties.regularizers._self_supervised import BarlowTwins as BarlowTwins
from keras_penalties.regularizers._self_supervised import VICReg as VICReg
from keras_penalties.regularizers._sigreg import SIGReg as SIGReg
from keras_penalties.regularizers._smoothness import TemporalSmoothness as TemporalSmoothness
from keras_penalties.regularizers._smoothness import TotalVariation as TotalVariation
from keras_penalties.regularizers._sparsity import KLSparsity as KLSparsity
from keras_penalties.regularizers._sparsity import LogSparsity as LogSparsity
from keras_penalties.regularizers._sparsity import TransformedL1 as TransformedL1
from keras_penalties.regularizers._triplet_margin import TripletMargin as TripletMargin

__all__ = [
    "AttentionTransfer",
    "BarlowTwins",
    "BatchStatisticPenalty",
    "CKA",
    "Confidence",
    "CORAL",
    "Covariance",
    "DeCov",
    "Entropy",
    "Excess",
    "GaussianKL",
    "GradientPenalty",
    "GroupLasso",
    "Hint",
    "Hoyer",
    "HoyerSquare",
    "InfoNCE",
    "KLSparsity",
    "KoLeo",
    "L1",
    "L1L2",
    "L2",
    "LoadBalance",
    "LogSparsity",
    "MarginalEntropy",
    "Match",
    "MMD",
    "Penalty",
    "PerExamplePenalty",
    "RelationalKD",
    "SIGReg",
    "TemporalSmoothness",
    "TotalVariation",
    "TransformedL1",
    "TripletMargin",
    "Variance",
    "VICReg",
    "ZLoss",
]
