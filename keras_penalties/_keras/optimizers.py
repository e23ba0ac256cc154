"""The class of an optimizer in a saved configuration."""

_TORCH = "keras.src.backend.torch.optimizers"


def for_any_backend(config):
    """`config` with the public class of each optimizer.

    On torch `keras.optimizers.Adam(...)` is an object of a private subclass, whose module Keras saves
    (keras/src/backend/torch/optimizers/torch_optimizer.py). Other backends find that class too, but it fails
    in its first step. The public class creates the right object on each backend.
    """
    if isinstance(config, (list, tuple)):
        return type(config)(for_any_backend(value) for value in config)
    if not isinstance(config, dict):
        return config
    config = {key: for_any_backend(value) for key, value in config.items()}
    if str(config.get("module", "")).startswith(_TORCH):
        config |= {"module": "keras.optimizers", "registered_name": None}
    return config
