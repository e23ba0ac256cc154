"""List the tensors of a model that can be named."""

from __future__ import annotations

import io

import keras

from keras_penalties._tensors.models import check_built
from keras_penalties._tensors.search import Search


class TensorList(list):
    """Names of tensors. Printed, it is a tree.

    Attributes:
        title: the name of the model.
        notes: by name, what is printed after it: the attribute that contains the layer, and known shapes.
    """

    def __init__(self, names, title: str, notes: dict):
        super().__init__(names)
        self.title, self.notes = title, notes

    def __repr__(self):
        from rich.console import Console
        from rich.tree import Tree

        tree = Tree(f"Tensors of '{self.title}'")
        branches = {(): tree}
        for name in self:
            path = tuple(name.split("/"))
            for i in range(len(path) - 1):
                if path[: i + 1] not in branches:
                    branches[path[: i + 1]] = branches[path[:i]].add(path[i], highlight=False)
            label = "  ".join([path[-1], *self.notes.get(name, [])])
            branches[path] = branches[path[:-1]].add(label, highlight=False)
        text = io.StringIO()
        # In a notebook rich would show the tree itself, not write it to `text`; FORCE_COLOR would add codes.
        console = Console(
            file=text,
            width=200,
            markup=False,
            legacy_windows=False,
            force_jupyter=False,
            force_terminal=False,
        )
        console.print(tree)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def list_tensors(model: keras.Model, pattern: str | type | None = None) -> TensorList:
    """The tensors of a model that `penalize` and `HiddenOutputs` can name.

    Each has the path of its layer as its name. For a layer with a generated name, the attribute of your class
    that contains it is shown too, such as `self.hidden`; `"hidden"` also names it. Append `:preactivation`
    for the input of the layer's activation, `:input` for the input of the layer, `:1` for its second output,
    and `@1` for its second use.

    Args:
        model: a built Keras model.
        pattern: a key of `penalize`: a name, path, shell pattern or class. Only the layers that it matches
            are listed. Defaults to None: all.

    Returns:
        A list of names. Printed, it is a tree, with the shapes that are known.

    Example:

    >>> import keras, keras_penalties as kp
    >>> inputs = keras.Input((4,))
    >>> dense = keras.layers.Dense(3, name="dense")
    >>> block = keras.Sequential([inputs, dense], name="block")
    >>> answer = keras.layers.Dense(1, name="out")
    >>> model = keras.Sequential([keras.Input((4,)), block, answer], name="net")
    >>> kp.list_tensors(model)
    Tensors of 'net'
    ├── block  (None, 3)
    │   └── dense  (None, 3)
    └── out  (None, 1)
    >>> list(kp.list_tensors(model, "dense"))
    ['block/dense']

    Raises:
        TypeError: if `model` is not a Keras model, or `pattern` is neither a string nor a class.
        ValueError: if `model` is not built, or `pattern` matches nothing or is not a valid name.
    """
    check_built(model, "list_tensors")
    if not (pattern is None or isinstance(pattern, (str, type))):
        raise TypeError(
            "`pattern` of list_tensors must be a name, a shell pattern, a class of layers, or None. "
            f"Received: {pattern!r}."
        )
    search = Search(model, "pattern", "list_tensors")
    notes = {}
    for place, part in search.named(pattern):
        held = [f"self.{a}" for a in place.attributes[:1]] if place.is_named_by_keras else []
        shapes = [str(tuple(x.shape)) for x in place.calls[0][1]] if place.calls else []
        notes[f"{place.name}{part}"] = [*held, *([", ".join(shapes)] if shapes else [])]
    return TensorList(notes, model.name, notes)
