"""Losses that Keras does not have, or has in another form. Losses without state are also functions."""

from keras_penalties.losses._amplitude import AmplitudeWeightedMSE as AmplitudeWeightedMSE
from keras_penalties.losses._amplitude import DualWeightedMSE as DualWeightedMSE
from keras_penalties.losses._amplitude import amplitude_weighted_mse as amplitude_weighted_mse
from keras_penalties.losses._amplitude import dual_weighted_mse as dual_weighted_mse
from keras_penalties.losses._categorical import CategoricalCrossentropy as CategoricalCrossentropy
from keras_penalties.losses._categorical import categorical_crossentropy as categorical_crossentropy
from keras_penalties.losses._center import Center as Center
from keras_penalties.losses._confusion import Confusion as Confusion
from keras_penalties.losses._confusion import LogConfusion as LogConfusion
from keras_penalties.losses._confusion import confusion as confusion
from keras_penalties.losses._confusion import log_confusion as log_confusion
from keras_penalties.losses._contrastive import Contrastive as Contrastive
from keras_penalties.losses._contrastive import contrastive as contrastive
from keras_penalties.losses._huber import Huber as Huber
from keras_penalties.losses._huber import huber as huber
from keras_penalties.losses._min_diff import MinDiff as MinDiff
from keras_penalties.losses._min_diff import min_diff as min_diff
from keras_penalties.losses._pairwise import PairwiseContrastive as PairwiseContrastive
from keras_penalties.losses._pairwise import pairwise_contrastive as pairwise_contrastive
from keras_penalties.losses._similarity import NTXent as NTXent
from keras_penalties.losses._similarity import SupervisedContrastive as SupervisedContrastive
from keras_penalties.losses._similarity import ntxent as ntxent
from keras_penalties.losses._similarity import supervised_contrastive as supervised_contrastive
from keras_penalties.losses._stateful import StatefulLoss as StatefulLoss
from keras_penalties.losses._triplet import Triplet as Triplet
from keras_penalties.losses._triplet import triplet as triplet

__all__ = [
    "AmplitudeWeightedMSE",
    "CategoricalCrossentropy",
    "Center",
    "Confusion",
    "Contrastive",
    "DualWeightedMSE",
    "Huber",
    "LogConfusion",
    "MinDiff",
    "NTXent",
    "PairwiseContrastive",
    "StatefulLoss",
    "SupervisedContrastive",
    "Triplet",
    "amplitude_weighted_mse",
    "categorical_crossentropy",
    "confusion",
    "contrastive",
    "dual_weighted_mse",
    "huber",
    "log_confusion",
    "min_diff",
    "ntxent",
    "pairwise_contrastive",
    "supervised_contrastive",
    "triplet",
]
