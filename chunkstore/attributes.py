"""`Attributes`: the user's part of a metadata document, as a mapping that writes through.

Floor 5. Left out: changing a document in one step, which its owner, an array or a group, does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from copy import deepcopy
from typing import Any, Protocol

from chunkstore.metadata.model import ArrayMetadata, GroupMetadata, plain_attributes

__all__ = ["Attributes"]


class _Node(Protocol):
    """What `Attributes` needs of its owner."""

    def change_metadata(self, change: Callable[[Any], Any]) -> None: ...

    @property
    def metadata(self) -> ArrayMetadata | GroupMetadata: ...


class Attributes(MutableMapping[str, Any]):
    """The user's attributes of an array or group, written through at every change.

    Reading shows what was there when the node was opened, or last changed through this handle.
    A change reads the stored document again, so two handles that set different attributes both
    keep theirs. Values are JSON: numpy scalars and arrays become numbers and lists.
    """

    __slots__ = ("_node",)

    def __init__(self, node: _Node) -> None:
        self._node = node

    def __repr__(self) -> str:
        return f"Attributes({self.asdict()!r})"

    def __getitem__(self, name: str) -> Any:
        return self.asdict()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def __delitem__(self, name: str) -> None:
        self[name]
        self._node.change_metadata(
            lambda stored: stored.replace(
                attributes={k: v for k, v in stored.attributes.items() if k != name}
            )
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._node.metadata.attributes)

    def __len__(self) -> int:
        return len(self._node.metadata.attributes)

    def asdict(self) -> dict[str, Any]:
        """Give the attributes as a plain dict, a copy: changing it stores nothing."""
        return deepcopy(self._node.metadata.attributes)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several attributes in one write."""
        new = plain_attributes(dict(*args, **kwargs))
        self._node.change_metadata(
            lambda stored: stored.replace(attributes={**stored.attributes, **new})
        )

    def put(self, attributes: Mapping[str, Any]) -> None:
        """Replace all attributes by these, in one write."""
        new = plain_attributes(attributes)
        self._node.change_metadata(lambda stored: stored.replace(attributes=new))
