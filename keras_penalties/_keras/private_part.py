"""A private part of Keras, or of a backend, that this package uses: see `parts.py`."""

from dataclasses import dataclass

TESTED = ("3.12", "3.15")  # the first and the last release of Keras that is tested


@dataclass(frozen=True)
class PrivatePart:
    """A private part.

    Attributes:
        where: the path: the module, then the class, function or attribute in it.
        use: its purpose: the end of "keras_penalties needs it to ...".
        files: the files of `_keras/` that use it.
        since: the first release of Keras that has it.
    """

    where: str
    use: str
    files: tuple[str, ...]
    since: str = TESTED[0]

    @property
    def owner(self) -> str:
        """The name of the class or module that contains it."""
        return self.where.rpartition(".")[0].rpartition(".")[2]

    @property
    def backend(self) -> str | None:
        """The backend that it belongs to, or None for all."""
        package = self.where.removeprefix("keras.src.backend.").partition(".")[0]
        return package if package in ("tensorflow", "jax", "torch") else None

    @property
    def name(self) -> str:
        return self.where.rpartition(".")[2]


def parts(owner: str, use: str, since: str = TESTED[0], **names: str) -> list[PrivatePart]:
    """Several parts of one owner, with one use: the files that use each, by its name."""
    return [PrivatePart(f"{owner}.{name}", use, tuple(files.split()), since) for name, files in names.items()]
