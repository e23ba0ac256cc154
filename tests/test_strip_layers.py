"""`strip` of every layer of Keras: each class is listed here once, with what it takes."""

import keras
import pytest
from keras import layers

import keras_penalties as kp
from tests.support.attach_networks import penalties_of

pytestmark = pytest.mark.default_backend_only  # configurations are the same on each; the campaign runs on all

ROW, STEPS, IMAGE, VOLUME = (4,), (6, 4), (8, 8, 3), (6, 8, 8, 3)


def _steps(**options):
    return layers.GRU(3, return_sequences=True, **options)


# For each group of classes: what makes one, and the shapes of its inputs.
GROUPS = {
    "ActivityRegularization BatchNormalization ELU Flatten Identity LayerNormalization LeakyReLU Masking "
    "Normalization PReLU RMSNormalization ReLU Softmax UnitNormalization": (lambda c: c(), ROW),
    "Add Average Concatenate Maximum Minimum Multiply Subtract": (lambda c: c(), ROW, ROW),
    "AdditiveAttention Attention": (lambda c: c(), STEPS, STEPS),
    "Cropping1D GlobalAveragePooling1D GlobalMaxPooling1D MaxPooling1D UpSampling1D ZeroPadding1D": (
        lambda c: c(),
        STEPS,
    ),
    "Cropping2D GlobalAveragePooling2D GlobalMaxPooling2D MaxPooling2D UpSampling2D ZeroPadding2D": (
        lambda c: c(),
        IMAGE,
    ),
    "Cropping3D GlobalAveragePooling3D GlobalMaxPooling3D MaxPooling3D UpSampling3D ZeroPadding3D": (
        lambda c: c(),
        VOLUME,
    ),
    "AugMix AutoContrast CutMix MixUp RandAugment RandomColorJitter RandomElasticTransform RandomErasing "
    "RandomFlip RandomGaussianBlur RandomGrayscale RandomInvert RandomPerspective RandomShear Solarization "
    "ContrastLimitedAdaptiveHistogramEqualization": (lambda c: c(), IMAGE),
    "RandomBrightness RandomColorDegeneration RandomContrast RandomHue RandomRotation RandomSaturation "
    "RandomSharpness RandomZoom": (lambda c: c(0.3), IMAGE),
    "RandomTranslation": (lambda c: c(0.3, 0.3), IMAGE),
    "RandomPosterization": (lambda c: c(4), IMAGE),
    "CenterCrop RandomCrop Resizing": (lambda c: c(4, 3), IMAGE),
    "AlphaDropout Dropout GaussianDropout GaussianNoise": (lambda c: c(0.3), ROW),
    "SpatialDropout1D": (lambda c: c(0.3), STEPS),
    "SpatialDropout2D": (lambda c: c(0.3), IMAGE),
    "SpatialDropout3D": (lambda c: c(0.3), VOLUME),
    "Dense GroupNormalization RepeatVector Rescaling": (lambda c: c(4), ROW),
    "CategoryEncoding Hashing": (lambda c: c(4), ROW),
    "Discretization": (lambda c: c(bin_boundaries=[0.0, 0.5]), ROW),
    "IntegerLookup": (lambda c: c(vocabulary=[1, 5, 9]), ROW),
    "Embedding ReversibleEmbedding": (lambda c: c(4, 3), ROW),
    "GRU LSTM SimpleRNN": (lambda c: c(4), STEPS),
    "RNN": (lambda c: c([layers.GRUCell(3), layers.LSTMCell(2)]), STEPS),
    "GRUCell LSTMCell SimpleRNNCell": (lambda c: layers.RNN(c(4)), STEPS),
    "StackedRNNCells": (lambda c: layers.RNN(c([layers.GRUCell(3), layers.SimpleRNNCell(2)])), STEPS),
    "Bidirectional": (lambda c: c(_steps(), backward_layer=_steps(go_backwards=True)), STEPS),
    "TimeDistributed": (lambda c: c(layers.Dense(3)), STEPS),
    "SpectralNormalization": (lambda c: c(layers.Dense(3)), ROW),
    "Wrapper": (lambda c: Wraps(layers.Dense(3)), ROW),
    "Conv1D Conv1DTranspose SeparableConv1D": (lambda c: c(4, 3), STEPS),
    "Conv2D Conv2DTranspose SeparableConv2D": (lambda c: c(4, 3), IMAGE),
    "Conv3D Conv3DTranspose": (lambda c: c(4, 3), VOLUME),
    "ConvLSTM1D": (lambda c: c(4, 3), IMAGE),
    "ConvLSTM2D": (lambda c: c(4, 3), VOLUME),
    "ConvLSTM3D": (lambda c: c(2, 2), (2, 4, 4, 4, 2)),
    "AveragePooling1D AdaptiveAveragePooling1D AdaptiveMaxPooling1D DepthwiseConv1D": (lambda c: c(2), STEPS),
    "AveragePooling2D AdaptiveAveragePooling2D AdaptiveMaxPooling2D DepthwiseConv2D": (lambda c: c(2), IMAGE),
    "AveragePooling3D AdaptiveAveragePooling3D AdaptiveMaxPooling3D": (lambda c: c(2), VOLUME),
    "EinsumDense": (lambda c: c("ab,bc->ac", 4), ROW),
    "MultiHeadAttention": (lambda c: c(2, 3), STEPS, STEPS),
    "GroupQueryAttention": (lambda c: c(4, 4, 2), STEPS, STEPS),
    "Permute": (lambda c: c((2, 1)), STEPS),
    "Reshape": (lambda c: c((3, 8)), STEPS),
    "Dot": (lambda c: c(1), ROW, ROW),
    "Activation": (lambda c: c("tanh"), ROW),
    "Lambda": (lambda c: c(lambda x: keras.ops.abs(x)), ROW),  # of a module that is not in its closure
    "MelSpectrogram": (lambda c: c(), (2048,)),
    "STFTSpectrogram": (lambda c: c(), (2048, 1)),
    "Pipeline": (lambda c: c([layers.Rescaling(2.0), layers.RandomFlip()]), IMAGE),
}
CALLED_ON_TWO = {"MultiHeadAttention", "GroupQueryAttention"}
# The bases; what takes text, integers or boxes; what another package makes; what no graph can hold.
OTHERS = [
    *("Layer", "InputLayer", "StringLookup", "TextVectorization", "HashedCrossing", "MaxNumBoundingBoxes"),
    *("TFSMLayer", "FlaxLayer", "JaxLayer", "TorchModuleWrapper", "Equalization"),
]


class Wraps(layers.Wrapper):
    def call(self, inputs):
        return self.layer(inputs)


def _given(name):
    cls = getattr(layers, name)
    group = next(group for names, group in GROUPS.items() if name in names.split())
    return group[0](cls), group[1:]


def _both(names):
    """Two models around the same layers, with and without penalties."""
    inputs, penalized, plain = [], [], []
    for name in names:
        layer, shapes = _given(name)
        starts = [keras.Input(shape) for shape in shapes]
        inputs += starts
        for outputs, penalty in ((plain, False), (penalized, True)):
            h = [kp.layers.ActivityPenalty(kp.regularizers.L2(0.1))(x) for x in starts] if penalty else starts
            outputs.append(layer(*h) if name in CALLED_ON_TWO or len(h) == 1 else layer(h))
    return keras.Model(inputs, penalized, name="m"), keras.Model(inputs, plain, name="m")


@pytest.mark.parametrize("names", GROUPS, ids=lambda names: names.split()[0])
def test_every_layer_of_keras(names):
    model, plain = _both([name for name in names.split() if hasattr(layers, name)])
    stripped = kp.strip(model)
    assert not penalties_of(stripped)
    assert stripped.to_json() == plain.to_json()
    assert [id(v) for v in stripped.variables] == [id(v) for v in plain.variables]


def test_every_layer_of_keras_is_here():
    classes = {
        cls for cls in vars(layers).values() if isinstance(cls, type) and issubclass(cls, layers.Layer)
    }
    here = [*" ".join(GROUPS).split(), *OTHERS]
    assert classes - {getattr(layers, name, None) for name in here} == set()
