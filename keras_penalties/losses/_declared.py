"""The checks of a loss's arguments and values: declared once, for its function and its class."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from keras_penalties._keras import scopes

F = TypeVar("F", bound=Callable)


class Declaration:
    """The checks of a loss.

    Attributes:
        function: the formula, `(y_true, y_pred, **arguments)`.
        values: `(y_true, y_pred, owner, **arguments)`, which raises if the values of labels or predictions,
            NumPy arrays, are not valid; or None if all are.
        arguments: for each argument, `(value, argument, owner)`, which returns the value to use, or raises.
    """

    def __init__(self, function, values, arguments):
        self.function, self.values, self.arguments = function, values, arguments
        self.signature = inspect.signature(function)
        names = list(self.signature.parameters)[2:]
        if names != list(arguments):
            raise TypeError(
                f"`declared` of {function.__name__} must have one check for each of its arguments, in their "
                f"order: {names}. Received: {list(arguments)}."
            )

    def checked(self, owner, given: dict) -> dict:
        """The arguments to use."""
        return {name: self.arguments[name](value, name, owner) for name, value in given.items()}

    def bound(self, *args, **kwargs) -> dict:
        """The arguments of a call, by name."""
        try:
            call = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.function.__name__}() {error}") from None
        call.apply_defaults()
        return call.arguments


def declared(values=None, **arguments) -> Callable[[F], F]:
    """Declare what a loss function accepts. The function checks its arguments in every call, and values if
    they are known, outside a compiled step. Its class uses the same checks through `declaration`.

    Args:
        values: as in `Declaration`.
        **arguments: as in `Declaration`, one for each argument of the function.
    """

    def decorator(function: F) -> F:
        declaration, owner = Declaration(function, values, arguments), function.__name__

        @functools.wraps(function)
        def checked(*args, **kwargs):
            given = declaration.bound(*args, **kwargs)
            y_true, y_pred = (given.pop(name) for name in list(given)[:2])
            given = declaration.checked(owner, given)
            result = function(y_true, y_pred, **given)
            if values is not None:
                arrays = [scopes.as_numpy(y_true), scopes.as_numpy(y_pred)]
                if all(array is not None and array.size for array in arrays):
                    values(*arrays, owner, **given)
            return result

        _DECLARATIONS[checked] = declaration
        return checked  # type: ignore

    return decorator


_DECLARATIONS: dict[Any, Declaration] = {}


def declaration(function) -> Declaration:
    """The declaration of a loss's function."""
    return _DECLARATIONS[function]
