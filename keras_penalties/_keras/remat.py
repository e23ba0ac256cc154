"""Rematerialized layers, which are computed again in the backward pass (Keras:
`src/backend/common/remat.py`)."""


def is_rematerialized(layer) -> bool:
    """Whether `layer` was made within a `keras.RematScope`."""
    return getattr(layer, "_remat_mode", None) is not None
