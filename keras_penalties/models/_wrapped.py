"""The model inside a `HiddenOutputs`: its attributes, and the methods that it may not override."""

import keras

from keras_penalties._keras import graphs
from keras_penalties._tensors.tapped import unmixed


def of_wrapped(name):
    return property(lambda self: getattr(self.model, name), doc=f"The wrapped model's `{name}`.")


def of_graph(name):
    """As `of_wrapped`; a Sequential model has this attribute only after it was called."""
    doc = f"The wrapped model's `{name}`."
    return property(lambda self: getattr(graphs.as_functional(self.model), name), doc=doc)


def public_names(cls) -> set[str]:
    """The public names of a Keras class, without those of PyTorch's modules, from which its layers derive."""
    classes = [kind for kind in cls.__mro__ if not kind.__module__.startswith("torch.")]
    return {name for kind in classes for name in vars(kind) if not name.startswith("_")}


# What `HiddenOutputs` uses from the wrapped model, apart from the methods of a layer.
KEPT = {"export", "get_layer", "get_quantization_layer_structure", "layers", "summary", "to_json"}
# The methods that the wrapped model may not override: `HiddenOutputs` uses Keras' own.
LOST = (public_names(keras.Model) - public_names(keras.layers.Layer) - KEPT) | {"metrics", "quantize"}


def refuse_own_steps(model):
    own = graphs.overridden(model, unmixed(type(model)), LOST)
    if own:
        raise ValueError(
            f"`model` of HiddenOutputs must train and predict as Keras does. '{model.name}' "
            f"({type(model).__name__}) has its own {', '.join(f'`{name}`' for name in own)}, which "
            "HiddenOutputs would leave out. Use `keras_penalties.penalize`, which keeps them."
        )
