"""Whether a saved file knows a layer by the name that it has."""

import keras

from keras_penalties.models import _graph


def refuse_lost_names(model, references: dict):
    """Raise if a layer that a hidden tensor is named by would have another name in a loaded file."""
    for name, reference in references.items():
        inside = model
        for part, _, _ in _graph.find(model, reference):
            operations = {operation.name: operation for operation in _graph.as_functional(inside).operations}
            inside = operations[part]
            if not _keeps_its_name(inside):
                raise ValueError(
                    f"`hidden` names '{name}' by the layer '{part}' ({type(inside).__name__}), whose name "
                    "a file would lose, so that it could not be loaded. Let its class pass it on: "
                    "`def __init__(self, ..., **kwargs): super().__init__(**kwargs)`, and, if it has a "
                    "`get_config`, `{**super().get_config(), ...}`."
                )


def _keeps_its_name(operation):
    if isinstance(operation, keras.Model):  # which is too much to make again
        return operation.get_config().get("name", operation.name) == operation.name
    try:
        config = keras.saving.serialize_keras_object(operation)
        return keras.saving.deserialize_keras_object(config).name == operation.name
    except Exception:
        return True  # Keras says why it cannot be saved or loaded
