"""What a release saves: for every exported class a small model that holds it, and every kind of model."""

import keras
import numpy as np
from keras import layers

import keras_penalties as kp
from tests.models import test_everything
from tests.models.networks import set_weights

R, L, S = kp.regularizers, kp.losses, kp.schedules
ROWS, STEPS, FEATURES, CLASSES = 6, 5, 3, 3


def signal(*shape, seed=0):
    return np.random.RandomState(seed).randn(ROWS, *shape).round(2).astype("float32")


def classes():
    return np.arange(ROWS) % CLASSES


def one_hot():
    return np.eye(CLASSES, dtype="float32")[classes()]


def sequence_model(penalty, activation="linear"):
    """The penalty as a layer's argument, and as a layer after a mask."""
    start = keras.Input((STEPS, FEATURES))
    h = layers.Dense(4, activation, name="argument", activity_regularizer=penalty)(layers.Masking()(start))
    h = kp.layers.ActivityPenalty(penalty, name="layer")(h)
    return keras.Model(start, layers.Dense(2)(layers.GlobalAveragePooling1D()(h)))


def pair_model(penalty):
    start = keras.Input((FEATURES,))
    compared = [layers.Dense(4)(start), layers.Dense(4, "tanh")(start)]
    if penalty.tensors == 3:
        compared.append(layers.Dense(4, "sigmoid")(start))
    first, *_ = kp.layers.ActivityPenalty(penalty, name="pair")(compared)
    return keras.Model(start, layers.Dense(2)(first))


def map_model(penalty):
    """The penalty compares the positions of two sequences, which differ in their channels."""
    start = keras.Input((STEPS, FEATURES))
    compared = [layers.Dense(4)(start), layers.Dense(5, "tanh")(start)]
    first, _ = kp.layers.ActivityPenalty(penalty, name="maps")(compared)
    return keras.Model(start, layers.Dense(2)(layers.GlobalAveragePooling1D()(first)))


def layer_model(penalty, name="layer"):
    start = keras.Input((FEATURES,))
    h = kp.layers.ActivityPenalty(penalty, name=name)(layers.Dense(4)(start))
    return keras.Model(start, layers.Dense(2)(h))


def moving_model(strength):
    return layer_model(R.L2(strength), "moving")


def classifier(activation="softmax"):
    hidden = layers.Dense(4, "relu", name="hidden", activity_regularizer=R.L2(0.1))
    return keras.Sequential(
        [keras.Input((FEATURES,)), hidden, layers.Dense(CLASSES, activation, name="head")], name="classifier"
    )


def encoder():
    return keras.Sequential([keras.Input((FEATURES,)), layers.Dense(2, name="code")], name="encoder")


class Case:
    """A model that is ready to be trained and saved, with data for it.

    Args:
        model: the model, not compiled.
        x: its inputs.
        y: its labels.
        loss: its loss, where it has none of its own.
        options: more arguments of `compile`.
        moves: whether training changes more than the model's weights: what is trained after loading is
            part of the promise then.
    """

    def __init__(self, model, x=None, y=None, loss="mse", *, moves=False, **options):
        self.model, self.moves = model, moves
        self.x = signal(FEATURES) if x is None else x
        self.y = np.zeros((ROWS, 2), "float32") if y is None else y
        if not any(isinstance(layer, keras.layers.LSTM) for layer in model._flatten_layers()):
            set_weights(model)
        own_loss = isinstance(model, kp.models.AntiPiracy)
        model.compile(keras.optimizers.SGD(0.1), **({} if own_loss else {"loss": loss}), **options)


def padded():
    x = signal(STEPS, FEATURES)
    x[0, 2:] = x[1, 4:] = 0.0
    return x


def _sequence(penalty, activation="linear"):
    return lambda: Case(sequence_model(penalty, activation), padded())


def _pair(penalty, **options):
    return lambda: Case(pair_model(penalty), **options)


def _maps(penalty):
    return lambda: Case(map_model(penalty), signal(STEPS, FEATURES))


def _moving(strength):
    return lambda: Case(moving_model(strength), moves=True)


def _labelled(loss, activation="linear", y=one_hot):
    return lambda: Case(classifier(activation), y=y(), loss=loss)


def _centers():
    model = kp.models.HiddenOutputs(classifier(), hidden=["hidden"])
    hidden = {"hidden": L.Center(CLASSES)}
    return Case(model, y=one_hot(), loss="categorical_crossentropy", moves=True, hidden_losses=hidden)


def _siamese(distance, loss):
    model = kp.models.Siamese(encoder(), distance=distance)
    x = [signal(FEATURES), signal(FEATURES, seed=1)]
    return Case(model, x, (np.arange(ROWS) % 2).astype("float32"), loss)


def _anti_piracy(transform, y, **options):
    network = classifier("linear" if options.get("from_logits") else "softmax")
    return Case(kp.models.AntiPiracy(network, transform, **options), y=y, moves=True)


def _reversed_model(scale):
    start = keras.Input((FEATURES,))
    h = kp.layers.GradientReversal(scale, name="reversed")(layers.Dense(4)(start))
    return keras.Model(start, layers.Dense(2)(h))


def _generator():
    start = keras.Input((FEATURES,))
    change = layers.Rescaling(0.5)(layers.Dense(FEATURES, "tanh")(start))
    return keras.Model(start, layers.Add()([start, change]), name="generator")


def _penalized():
    inner = keras.Sequential([keras.Input((FEATURES,)), layers.Dense(4, "relu", name="deep")], name="inner")
    start = keras.Input((FEATURES,))
    twice = layers.Dense(FEATURES, "tanh", name="twice")
    end = layers.Dense(2, name="end")(inner(twice(twice(start))))
    model = keras.Model(start, end)
    return Case(kp.penalize(model, {"inner/deep": R.L2(0.1), "twice": [R.DeCov(0.2), R.L1(0.3)]}))


def _penalized_sequential():
    stack = [keras.Input((FEATURES,)), layers.Dense(4, name="a"), layers.Dense(2, name="b")]
    return Case(kp.penalize(keras.Sequential(stack), {"*": R.L2(S.Cyclical(0.1, 4))}), moves=True)


def _gradients():
    """Derivatives of unnamed layers, whose names change on loading, and one of a derivative."""
    start = keras.Input((FEATURES,), name="x")
    h = layers.Dense(4, "tanh")(start)
    model = keras.Model(start, layers.Dense(CLASSES, name="logits")(h))
    G = kp.models.Gradient
    hidden = {
        "slope": G(h, wrt="x"),
        "bend": G("slope", wrt="x", feature=1),
        "jacobian": G("logits", wrt=h, projections=2, seed=3),
    }
    model = kp.models.HiddenOutputs(model, hidden)
    losses = {"slope": R.GradientPenalty(0.1), "bend": R.L2(0.1), "jacobian": R.L2(0.1)}
    return Case(model, y=one_hot(), loss="mse", moves=True, hidden_losses=losses)


def _recurrent():
    model, tensors = test_everything.build(squares=R.L2)  # what Keras' own gives depends on its release
    model = kp.models.HiddenOutputs(model, hidden={"first": "encoder@0/lstm", "mix": "joint/mix", **tensors})
    hidden = {
        "first": R.L1(0.3, per="element"),
        "mix": [R.L2(keras.optimizers.schedules.PolynomialDecay(0.0, 4, 0.1)), R.DeCov(0.2)],
        ("a", "b"): R.Hint(0.4),
    }
    losses = {"kind": "categorical_crossentropy", "score": "mse"}
    x, y, _ = test_everything.data()
    return Case(model, x, y, losses, moves=True, hidden_losses=hidden, metrics={"score": ["mae"]})


CASES = {
    "AttentionTransfer": _maps(R.AttentionTransfer(0.1, distance="mean_squared")),
    "BarlowTwins": _pair(R.BarlowTwins(0.1, off_diagonal=0.01)),
    "CKA": _pair(R.CKA(0.1, detach="second")),
    "CORAL": _pair(R.CORAL(0.1)),
    "Confidence": _sequence(R.Confidence(0.1), "softmax"),
    "Covariance": _sequence(R.Covariance(0.1)),
    "DeCov": _sequence(R.DeCov(0.1)),
    "Entropy": _sequence(R.Entropy(0.1, from_logits=True)),
    "Excess": _sequence(R.Excess(0.1, threshold=0.2)),
    "GaussianKL": _pair(R.GaussianKL(0.1, free_bits=0.1, capacity=0.3)),
    "GradientPenalty": _sequence(R.GradientPenalty(0.1, norm=0.5)),
    "GroupLasso": _sequence(R.GroupLasso(0.1)),
    "Hint": _pair(R.Hint(0.1)),
    "Hint-projection": _pair(R.Hint(0.1, per="element", projection=True), moves=True),
    "Hoyer": _sequence(R.Hoyer(0.1)),
    "HoyerSquare": _sequence(R.HoyerSquare(0.1)),
    "InfoNCE": _pair(R.InfoNCE(0.1, temperature=0.5, negatives="other_view")),
    "KLSparsity": _sequence(R.KLSparsity(0.1, target=0.2), "sigmoid"),
    "KoLeo": _sequence(R.KoLeo(0.1, eps=0.001)),
    "L1": _sequence(R.L1(0.1, per="element")),
    "L1L2": _sequence(R.L1L2(l1=0.1, l2=0.2)),
    "L2": _sequence(R.L2(0.1)),
    "LoadBalance": _sequence(R.LoadBalance(0.1, top_k=2)),
    "LogSparsity": _sequence(R.LogSparsity(0.1, eps=0.5)),
    "MarginalEntropy": _sequence(R.MarginalEntropy(0.1), "softmax"),
    "Match": _pair(R.Match(0.1, keras.losses.Huber(delta=0.3), detach="second")),
    "Match-temperature": _pair(R.Match(0.1, "kl_divergence", temperature=2.0)),
    "Match-function": _pair(R.Match(0.1, L.huber, detach="first")),
    "MMD": _sequence(R.MMD(0.1, kernel="imq", bandwidth=2.0)),
    "RelationalKD": _pair(R.RelationalKD(0.1, distance=2.0, angle=3.0)),
    "SIGReg": lambda: Case(layer_model(R.SIGReg(0.1, slices=16)), moves=True),
    "TemporalSmoothness": _sequence(R.TemporalSmoothness(0.1)),
    "TotalVariation": _sequence(R.TotalVariation(0.1)),
    "TransformedL1": _sequence(R.TransformedL1(0.1, beta=0.5)),
    "TripletMargin": _pair(R.TripletMargin(0.1, margin=0.7, distance="squared")),
    "VICReg": _pair(R.VICReg(0.1)),
    "Variance": _sequence(R.Variance(0.1, target=0.5)),
    "ZLoss": _sequence(R.ZLoss(0.1)),
    "AmplitudeWeightedMSE": _labelled(L.AmplitudeWeightedMSE(rate=2.0)),
    "CategoricalCrossentropy": _labelled(L.CategoricalCrossentropy(label_smoothing=0.1), "softmax"),
    "Confusion": _labelled(L.Confusion(from_logits=True)),
    "DualWeightedMSE": _labelled(L.DualWeightedMSE(gamma=2.0)),
    "Huber": _labelled(L.Huber(threshold=0.3)),
    "LogConfusion": _labelled(L.LogConfusion(), "softmax"),
    "MinDiff": _labelled(L.MinDiff(length=0.5), y=classes),
    "NTXent": _labelled(L.NTXent(), y=classes),
    "PairwiseContrastive": _labelled(L.PairwiseContrastive(margin=0.7), y=classes),
    "SupervisedContrastive": _labelled(L.SupervisedContrastive(0.5), y=classes),
    "Triplet": _labelled(L.Triplet(mining="hard", distance="squared"), y=classes),
    "function": _labelled(L.huber),
    "Center": _centers,
    "Cyclical": _moving(S.Cyclical(0.2, 4)),
    "Target": _moving(S.Target(0.5, rate=0.1)),
    "ExponentialDecay": _moving(keras.optimizers.schedules.ExponentialDecay(0.3, 2, 0.5)),
    "GradientReversal": lambda: Case(
        _reversed_model(keras.optimizers.schedules.PolynomialDecay(0.0, 6, 0.5)), moves=True
    ),
    "Siamese": lambda: _siamese("euclidean", L.Contrastive(1.5)),
    "Siamese-cosine": lambda: _siamese("cosine", L.Contrastive(0.5)),
    "AntiPiracy": lambda: _anti_piracy(kp.layers.UniversalPerturbation(0.5), classes(), alpha=0.7),
    "AntiPiracy-generator": lambda: _anti_piracy(
        _generator(), one_hot(), from_logits=True, raw_loss=L.LogConfusion(from_logits=True)
    ),
    "penalized": _penalized,
    "penalized-Sequential": _penalized_sequential,
    "Gradient": _gradients,
    "HiddenOutputs": _recurrent,
}
