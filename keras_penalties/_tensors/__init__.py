"""Name, find and reach any tensor of a model."""

from keras_penalties._tensors.names import Part as Part
from keras_penalties._tensors.search import Search as Search
from keras_penalties._tensors.search import Tensor as Tensor
from keras_penalties._tensors.taps import Receiver as Receiver
from keras_penalties._tensors.taps import Tap as Tap
from keras_penalties._tensors.taps import Tapping as Tapping
