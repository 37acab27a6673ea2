"""The members of a group: a mapping from names, or paths, to arrays and groups.

Floor 7. `Members` is what `Group` is for who reads it; how a member is found and opened is the
group's own business.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from chunkstore.array import Array
from chunkstore.display import Text
from chunkstore.errors import InvalidArgumentError

__all__ = ["Members"]

G = TypeVar("G", bound="Members[Any]")
"""The class of groups."""


class Members(Generic[G]):
    """What can be asked of a group's members; mixed into `Group`."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """Path with a slash in front."""
        raise NotImplementedError

    def get(self, path: str, default: Any = None) -> Any:
        """Give the member at a path below the group, or `default` if there is none."""
        raise NotImplementedError

    def _children(self) -> Iterator[tuple[str, Array | G]]:
        """Iterate over pairs of name and member directly below, in order of names."""
        raise NotImplementedError

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.get(path) is not None

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._children())

    def __len__(self) -> int:
        return self.nmembers()

    def keys(self) -> Iterator[str]:
        """Iterate over the names of the members."""
        return iter(self)

    def values(self) -> Iterator[Array | G]:
        """Iterate over the members."""
        return (member for _, member in self._children())

    def items(self) -> Iterator[tuple[str, Array | G]]:
        """Iterate over pairs of name and member."""
        return self._children()

    def members(self, max_depth: int | None = 0) -> Iterator[tuple[str, Array | G]]:
        """Iterate over pairs of path and member, each group before what is in it.

        Parameters
        ----------
        max_depth : int or None
            How many groups to go down into: 0, the default, gives the members directly below,
            None all that there are.

        Notes
        -----
        One listing for each group, and the requests to open each member that consolidated
        metadata, where it is used, does not name.
        """
        is_count = isinstance(max_depth, int) and not isinstance(max_depth, bool) and max_depth >= 0
        if max_depth is not None and not is_count:
            raise InvalidArgumentError(
                f"max_depth must be an integer of at least 0 or None, got {max_depth!r}"
            )
        return self._below("", max_depth)

    def _below(self, path: str, depth: int | None) -> Iterator[tuple[str, Array | G]]:
        for name, member in self._children():
            yield path + name, member
            if depth != 0 and isinstance(member, Members):
                inner = None if depth is None else depth - 1
                yield from member._below(f"{path}{name}/", inner)

    def nmembers(self, max_depth: int | None = 0) -> int:
        """Count the members; `max_depth` as in `members`."""
        return sum(1 for _ in self.members(max_depth))

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Iterate over pairs of name and member, arrays only."""
        return ((name, node) for name, node in self._children() if isinstance(node, Array))

    def groups(self) -> Iterator[tuple[str, G]]:
        """Iterate over pairs of name and member, groups only."""
        return ((name, node) for name, node in self._children() if not isinstance(node, Array))

    def array_keys(self) -> Iterator[str]:
        """Iterate over the names of the arrays."""
        return (name for name, _ in self.arrays())

    def group_keys(self) -> Iterator[str]:
        """Iterate over the names of the groups."""
        return (name for name, _ in self.groups())

    def array_values(self) -> Iterator[Array]:
        """Iterate over the arrays."""
        return (node for _, node in self.arrays())

    def group_values(self) -> Iterator[G]:
        """Iterate over the groups."""
        return (node for _, node in self.groups())

    def tree(self, *, level: int | None = None) -> Text:
        """Draw the members as text.

        Parameters
        ----------
        level : int, optional
            How many levels to draw; all of them by default.
        """
        return Text("\n".join([self.name, *self._tree_lines("", level)]))

    def _tree_lines(self, indent: str, level: int | None) -> Iterator[str]:
        members = [] if level == 0 else list(self._children())
        for i, (name, member) in enumerate(members):
            last = i == len(members) - 1
            what = ""
            if isinstance(member, Array):
                what = f" {member.shape} {member.metadata.data_type.name}"
            yield f"{indent}{'└── ' if last else '├── '}{name}{what}"
            if isinstance(member, Members):
                inner = None if level is None else level - 1
                yield from member._tree_lines(indent + ("    " if last else "│   "), inner)
