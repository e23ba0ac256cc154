"""The grammar of tensor names.

    name  = path [":" part]
    path  = layer ["@" use] {"/" layer ["@" use]}
    part  = index | "input" [":" index] | "preactivation"

The path of a layer has the names of the layers around it, then its own name. `use` is the number of a call of
a layer that is called several times, and `index` that of a tensor; both count from 0.
"""

import re
from dataclasses import dataclass

SEGMENT = re.compile(r"(?P<layer>[^/@:]+)(?:@(?P<use>\d+))?")
PART = re.compile(r"(?P<kind>input|preactivation)?(?::?(?P<index>\d+))?")
GRAMMAR = (
    "Write a layer's name ('dense_4') or a path ('encoder/dense_4'); '@1' after a layer means its second "
    "use, ':1' at the end its second output, ':input' what goes into it, ':preactivation' what goes into its "
    "activation."
)


@dataclass(frozen=True)
class Part:
    """Which tensor of a layer.

    Attributes:
        kind: `"output"`, `"input"` or `"preactivation"`.
        index: which of them, or None: the first output; all inputs.
    """

    kind: str = "output"
    index: int | None = None

    @property
    def suffix(self) -> str:
        """Its form in log keys: `""`, `"_output_1"`, `"_input"`, `"_input_1"`, `"_preactivation"`."""
        if self.kind == "output":
            return f"_output_{self.index}" if self.index else ""
        return f"_{self.kind}" + (f"_{self.index}" if self.index else "")

    def __str__(self):
        if self.kind == "output":
            return f":{self.index}" if self.index else ""
        return f":{self.kind}" + (f":{self.index}" if self.index is not None else "")


@dataclass(frozen=True)
class TensorName:
    """A parsed name.

    Attributes:
        text: the name as it was written.
        layers: the layers in the path, the last being that of the tensor; they may be shell patterns.
        uses: which use of each layer, or None.
        part: which tensor of the last layer.
    """

    text: str
    layers: tuple[str, ...]
    uses: tuple[int | None, ...]
    part: Part

    @property
    def is_pattern(self) -> bool:
        return any(set(layer) & set("*?[") for layer in self.layers)

    @property
    def path(self) -> str:
        """The layers, without uses and part."""
        return "/".join(self.layers)


def parse(text: str, argument: str, owner: str) -> TensorName:
    """`text` as a `TensorName`; `argument` and `owner` say in errors where it comes from."""
    path, colon, part = text.partition(":")
    segments = [SEGMENT.fullmatch(segment) for segment in path.split("/")]
    wrong = [s for s, found in zip(path.split("/"), segments, strict=True) if found is None]
    found = PART.fullmatch(part)
    valid = found is not None and (bool(part) == bool(colon))
    if found is not None and found["kind"] == "preactivation" and found["index"]:
        valid = False
    if wrong or found is None or not valid:
        token = wrong[0] if wrong else f":{part}"
        raise ValueError(
            f"`{argument}` of {owner} has the name {text!r}, in which {token!r} is not valid. {GRAMMAR}"
        )
    index = None if found["index"] is None else int(found["index"])
    uses = tuple(None if s["use"] is None else int(s["use"]) for s in segments if s)
    layers = tuple(s["layer"] for s in segments if s)
    return TensorName(text, layers, uses, Part(found["kind"] or "output", index))
