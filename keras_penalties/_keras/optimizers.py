"""Which class of an optimizer a saved configuration names."""

_TORCH = "keras.src.backend.torch.optimizers"


def for_any_backend(config):
    """`config` with the public class of each optimizer.

    On torch `keras.optimizers.Adam(...)` is an object of a private subclass, whose module Keras saves
    (keras/src/backend/torch/optimizers/torch_optimizer.py). On another backend that class is found too, and
    fails in its first step. The public class makes the right object on each backend.
    """
    if isinstance(config, (list, tuple)):
        return type(config)(for_any_backend(value) for value in config)
    if not isinstance(config, dict):
        return config
    config = {key: for_any_backend(value) for key, value in config.items()}
    if str(config.get("module", "")).startswith(_TORCH):
        config |= {"module": "keras.optimizers", "registered_name": None}
    return config
