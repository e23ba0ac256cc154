"""State that changes during training, owned by a layer or model of this package and saved with it."""

import keras


class State(keras.layers.Layer):
    """Variables in float32, for any dtype of the model. A file without them loads too."""

    def __init__(self, name):
        super().__init__(name=name, dtype="float32", autocast=False)
        self.built = True  # otherwise Keras calls the model again before each `train_on_batch` and `fit`

    def variable(self, name, initializer="zeros", shape=(), dtype="float32", trainable=False):
        options = {"shape": shape, "initializer": initializer, "dtype": dtype, "trainable": trainable}
        return self.add_weight(**options, autocast=False, name=name)

    def load_own_variables(self, store):
        if len(store):
            super().load_own_variables(store)

    def fits(self, other) -> bool:
        """Whether `other` has variables of the same shapes."""
        return isinstance(other, State) and [v.shape for v in self.variables] == [
            v.shape for v in other.variables
        ]

    def keep_state_of(self, other):
        """Copy the values of `other`, if it has variables of the same shapes."""
        if self.fits(other):
            for mine, theirs in zip(self.variables, other.variables, strict=True):
                mine.assign(theirs.value)


class Learned(State):
    """Variables by name, created from the arguments of `add_weight` that `learned` of a penalty or `state` of
    a loss returns."""

    def __init__(self, options: dict, name):
        super().__init__(name)
        self._by_name = {key: self.variable(key, **arguments) for key, arguments in options.items()}

    @property
    def values(self) -> dict:
        return {key: variable.value for key, variable in self._by_name.items()}

    def assign(self, values: dict):
        unknown = sorted(set(values) - set(self._by_name))
        if unknown:
            raise ValueError(
                f"`next_state` must return values under the names from `state`: {sorted(self._by_name)}. "
                f"Received: {unknown}."
            )
        for key, value in values.items():
            self._by_name[key].assign(value)
