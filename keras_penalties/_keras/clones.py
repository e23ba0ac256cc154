"""What `keras.models.clone_model` makes of a model (keras/src/models/cloning.py).

It clones the layers of a graph one by one. For the graph itself, it calls `keras.Sequential`, or the class of
a functional model if its arguments are inputs and outputs, and `Functional` otherwise. So what a copy of a
model has besides its layers is lost in the clone, and nothing in the clone could notice.
"""

import sys

import keras

from keras_penalties._keras import graphs, private

_CLONING = ("_clone_sequential_model", "_clone_functional_model")


def keeps_class(cls) -> bool:
    """Whether a clone of a model of the class `cls` has this class."""
    if not issubclass(cls, graphs.Functional):
        return not issubclass(cls, keras.Sequential)
    return private.find("keras.src.models.functional.functional_like_constructor")(cls)


class NotCloned:
    """A graph of layers of which `clone_model` raises an error: a mixin for its class."""

    name: str

    @property
    def layers(self):
        self._refuse_clone(sys._getframe(1))
        return super().layers  # type: ignore[misc]

    def _run_through_graph(self, *args, **kwargs):
        self._refuse_clone(sys._getframe(1))
        return super()._run_through_graph(*args, **kwargs)  # type: ignore[misc]

    def _refuse_clone(self, frame):
        if frame.f_code.co_name in _CLONING:
            raise ValueError(
                f"`keras.models.clone_model` cannot clone '{self.name}' with its penalties: it would create "
                "a plain model, without their mask, or without the penalty of the whole model. Write "
                "`type(model).from_config(model.get_config())`, or leave out `recursive=True`."
            )
