"""In which format Keras writes a file."""

from keras.src.backend.common import global_state


def is_legacy() -> bool:
    """Whether a configuration is asked for that goes into a legacy HDF5 file (keras/src/legacy/saving)."""
    return bool(global_state.get_global_attribute("use_legacy_config", False))
