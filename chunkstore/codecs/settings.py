"""Reading the configuration of a codec, so that all that is wrong with it is said at once.

Floor 2. A codec reads its configuration through `Settings` and then calls ``check``; what also
depends on the chunk is looked at after that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chunkstore.errors import CodecError

__all__ = ["Settings", "located"]


class Settings:
    """A configuration that is being read.

    Each method gives the value of one key; where it is not what it must be, that is noted and some
    value that would do is given instead.

    Parameters
    ----------
    name : str
        What to call the codec in an error.
    configuration : mapping
        As in the document.
    required, optional : tuple of str
        The keys that there must be, and that there may be; all others are refused.

    Examples
    --------
    >>> settings = Settings("zstd", {"level": 99, "speed": 3}, required=("level",))
    >>> settings.integer("level", -131072, 22)
    -131072
    >>> settings.check()
    Traceback (most recent call last):
        ...
    chunkstore.errors.CodecError: zstd does not know 'speed'; it knows: 'level'; zstd takes for
    'level' an integer from -131072 to 22, got 99
    """

    __slots__ = ("_configuration", "_name", "_problems")

    def __init__(
        self,
        name: str,
        configuration: Mapping[str, Any],
        *,
        required: tuple[str, ...] = (),
        optional: tuple[str, ...] = (),
    ) -> None:
        self._name = name
        self._configuration = configuration
        self._problems: list[tuple[str, str]] = []
        for key in required:
            if key not in configuration:
                self._problems.append((key, f"{name} needs {key!r} in its configuration"))
        known = required + optional
        for key in configuration:
            if key not in known:
                words = ", ".join(map(repr, known)) or "none"
                self._problems.append((key, f"{name} does not know {key!r}; it knows: {words}"))

    def __contains__(self, key: str) -> bool:
        return key in self._configuration

    def get(self, key: str, default: Any = None) -> Any:
        """Give a value as it is, `default` where the key is missing."""
        return self._configuration.get(key, default)

    def note(self, key: str, expected: str) -> None:
        """Note that the value of a key is not what is expected; a missing one is known already."""
        if key in self._configuration:
            value = self._configuration[key]
            self.problem(key, f"{self._name} takes for {key!r} {expected}, got {value!r}")

    def problem(self, key: str, what: str) -> None:
        """Note what is wrong with the value of a key, in words of one's own."""
        self._problems.append((key, what))

    def integer(self, key: str, least: int, most: int, default: int | None = None) -> int:
        """Read a whole number and check its range."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.note(key, f"an integer from {least} to {most}")
            return least
        return value

    def number(self, key: str, most: float, default: float | None = None) -> float:
        """Read a number from -`most` to `most`."""
        value = self.get(key, default)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not -most <= value <= most:
            self.note(key, "a finite number")
            return 1
        number: float = value
        return number

    def boolean(self, key: str, default: bool) -> bool:
        """Read true or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            self.note(key, "true or false")
            return default
        return value

    def choice(self, key: str, words: Sequence[str], default: str | None = None) -> str:
        """Read one of a few words."""
        value = self.get(key, default)
        if not isinstance(value, str) or value not in words:
            self.note(key, "one of " + ", ".join(f'"{word}"' for word in words))
            return words[0]
        return value

    def dtype(self, key: str, default: np.dtype[Any] | None = None) -> np.dtype[Any]:
        """Read a numpy type string, such as ``"<f4"``; null stands for the default."""
        value = self.get(key)
        if value is None and default is not None:
            return default
        try:
            dtype = np.dtype(value) if isinstance(value, str) else None
        except (TypeError, ValueError, SyntaxError):
            dtype = None
        if dtype is None or dtype.kind not in "biufcmMSU" or not dtype.itemsize:
            self.note(key, 'a type string of numpy, such as "<f4"')
            return np.dtype(np.float32) if default is None else default
        return dtype

    def check(self) -> None:
        """Raise a `CodecError` of all that was noted, if anything was."""
        if self._problems:
            raise CodecError(
                "; ".join(what for _, what in self._problems),
                key=self._problems[0][0],
                nested_problems=tuple(self._problems),
            )


def located(error: CodecError, path: str, below: str = ".configuration") -> list[tuple[str, str]]:
    """Give the problems that an error stands for, each with its JSON path.

    Parameters
    ----------
    error : CodecError
        Of a codec whose entry in the document is at `path`.
    path : str
        JSON path of the entry.
    below : str
        Where the keys of its configuration are.

    Examples
    --------
    >>> located(CodecError("no such level", key="level"), "codecs[0]")
    [('codecs[0].configuration.level', 'no such level')]
    """
    nested: Sequence[tuple[str, str]] | None = getattr(error, "nested_problems", None)
    if nested is not None:
        return [(f"{path}{below}.{inner}", what) for inner, what in nested]
    key = getattr(error, "key", None)
    return [(path if key is None else f"{path}{below}.{key}", str(error))]
