"""What a subclass of a penalty may define.

Anything else raises an error when the class is defined: one way of attaching the penalty would use it, and
another would silently ignore it.
"""

import inspect

FORMULAS = ("value", "examples", "elements", "statistic")


def check(cls):
    """Reject the class of a penalty if it overrides a method marked with `typing.final`, or if its formula is
    in a method that is never called."""
    for base in cls.__mro__[1:]:
        for name, method in vars(base).items():
            if _is_final(method) and inspect.getattr_static(cls, name) is not method:
                raise TypeError(f"{cls.__name__} cannot define `{name}`. {_instead(cls, name, base)}")
    given = [name for name in FORMULAS if name in vars(cls) and "_formulas" not in vars(cls)]
    _, definer = _formula(cls)
    if given and definer is not cls and (definer is None or _is_of_this_package(definer)):
        raise TypeError(f"`{given[0]}` of {cls.__name__} is never called. {_advice(cls)}")


def _is_final(method) -> bool:
    return getattr(method.fget if isinstance(method, property) else method, "__final__", False) is True


def _instead(cls, name, base):
    if name.startswith("_") and name != "__call__":
        return f"{base.__name__} has a method of that name: choose another name."
    return f"Every way of attaching a penalty uses that of {base.__name__}. {_advice(cls)}"


def _formula(cls):
    """The method with the formula of `cls`, and the class that defines it, or None if no class does yet."""
    for name in cls._formulas:
        definer = next(base for base in cls.__mro__ if name in vars(base))
        if "_formulas" not in vars(definer):  # the method of a family only calls the next one
            return name, definer
    return cls._formulas[-1], None


def _advice(cls):
    name, definer = _formula(cls)
    if definer is None or definer is cls:
        return f"Define the formula in {cls._formula_methods}."
    parameters = list(inspect.signature(getattr(definer, name)).parameters)[1:]
    return f"The formula of {definer.__name__} is in `{name}({', '.join(parameters)})`: override that method."


def _is_of_this_package(cls):
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]
