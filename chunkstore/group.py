"""`Group`: a node that holds other nodes.

Floor 7. Children are found by listing the store, so a member that another program adds is there
the next time one looks. Consolidated metadata, where a handle uses it, saves the requests for the
members' documents and not that one, so it hides nothing either.

Source: Zarr v3 core, "Hierarchy"; Zarr v2, "Hierarchies".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, cast

import numpy as np

from chunkstore import documents
from chunkstore.array import Array, make_array, open_array_like, open_array_node
from chunkstore.attributes import Attributes
from chunkstore.checks import CodecCheck
from chunkstore.display import Facts, Text, as_html, as_text
from chunkstore.dtypes import from_numpy
from chunkstore.errors import InvalidArgumentError, NodeExistsError
from chunkstore.keys import join, normalize_path
from chunkstore.layout import extents
from chunkstore.members import Members
from chunkstore.metadata import ConsolidatedCopy
from chunkstore.metadata.model import ArrayMetadata, GroupMetadata, plain_attributes
from chunkstore.options import Options
from chunkstore.stores.base import Store
from chunkstore.translating import layout_like

__all__ = ["Group"]


class Group(Members["Group"]):
    """A group in a store. Made by `open_group` and `create_group`, not by calling the class.

    Behaves as a mapping from names, or paths, to arrays and groups.

    Examples
    --------
    >>> import chunkstore
    >>> root = chunkstore.create_group(chunkstore.MemoryStore())
    >>> x = root.create_array("a/x", shape=3, dtype="f8")
    >>> list(root), "a/x" in root, root["a/x"].shape
    (['a'], True, (3,))
    """

    __slots__ = ("_copy", "_metadata", "_options", "_path", "_read_only", "_store")

    def __init__(
        self,
        store: Store,
        path: str,
        metadata: GroupMetadata,
        *,
        options: Options,
        read_only: bool = False,
        copy: ConsolidatedCopy | None = None,
    ) -> None:
        self._store = store
        # A handle that may write reads the documents: its own changes would leave the copy stale.
        self._copy = copy if read_only or store.read_only else None
        self._path = path
        self._metadata = metadata
        self._options = options
        self._read_only = read_only

    @property
    def store(self) -> Store:
        """The store that holds the group."""
        return self._store

    @property
    def path(self) -> str:
        """Path in the store, without a slash at either end; the root is ``""``."""
        return self._path

    @property
    def name(self) -> str:
        """Path with a slash in front."""
        return f"/{self._path}"

    @property
    def basename(self) -> str:
        """Last part of the path."""
        return self._path.rpartition("/")[2]

    @property
    def metadata(self) -> GroupMetadata:
        """All that the documents say."""
        return self._metadata

    @property
    def read_only(self) -> bool:
        """Whether changes through this handle are refused."""
        return self._read_only or self._store.read_only

    @property
    def attrs(self) -> Attributes:
        """The user's attributes; changes are written through."""
        return Attributes(self)

    def update_attributes(self, attributes: Mapping[str, Any]) -> Group:
        """Set several attributes in one write; returns the handle."""
        self.attrs.update(attributes)
        return self

    def change_metadata(self, change: Callable[[GroupMetadata], GroupMetadata]) -> None:
        """Change the stored documents in one step, and this handle with them."""
        documents.check_open_for_writing(self.read_only, repr(self))
        self._metadata = documents.update_node(self._store, self._path, self._metadata, change)

    # -- members --------------------------------------------------------------------------------

    def __getitem__(self, path: str) -> Array | Group:
        found: Array | Group | None = self.get(path)
        if found is None:
            raise documents.not_found(self._store, join(self._path, normalize_path(path)))
        return found

    def get(self, path: str, default: Any = None) -> Any:
        """Give the member at a path below the group, or `default` if there is none."""
        found = self._member(normalize_path(path))
        return default if found is None else found

    def get_array(self, path: str) -> Array:
        """Give the array at a path below the group.

        Raises
        ------
        NodeNotFoundError
            If nothing is there.
        NodeTypeError
            If a group is there.
        """
        node = self[path]
        documents.require_array(node.metadata, self._store, node.path)
        return cast(Array, node)

    def get_group(self, path: str) -> Group:
        """Give the group at a path below the group; errors as in `get_array`."""
        node = self[path]
        documents.require_group(node.metadata, self._store, node.path)
        return cast(Group, node)

    def _member(self, path: str) -> Array | Group | None:
        """Open the member at an exact path below the group: names in a store may be odd."""
        full = join(self._path, path)
        copy = None if self._copy is None or not path else self._copy
        metadata = None
        if copy is not None:
            metadata = copy.get(path, CodecCheck(self._options))
        if metadata is None:
            copy = None
            metadata = documents.read_node(
                self._store, full, zarr_format=self._metadata.zarr_format, options=self._options
            )
        if metadata is None:
            return None
        return open_node(
            self._store,
            full,
            metadata,
            options=self._options,
            read_only=self._read_only,
            copy=None if copy is None else copy.below(path),
        )

    def _names(self) -> Iterator[str]:
        if self._copy is not None and not self._store.can_list:
            return self._copy.names()
        return documents.child_names(self._store, self._path, self._metadata.zarr_format)

    def _children(self) -> Iterator[tuple[str, Array | Group]]:
        for name in self._names():
            member = self._member(name)
            if member is not None:
                yield name, member

    @property
    def is_consolidated(self) -> bool:
        """Whether this handle opens members from consolidated metadata."""
        return self._copy is not None

    def consolidated_members(
        self, *, recursive: bool = False
    ) -> Iterator[tuple[str, Array | Group]]:
        """Iterate over pairs of path and member as consolidated metadata names them.

        Parameters
        ----------
        recursive : bool
            Whether to go down to members of members.

        Raises
        ------
        InvalidArgumentError
            If this handle uses no consolidated metadata; see `chunkstore.open_group`.

        Notes
        -----
        No request. A member that was added by a program which left the copy stale is not seen;
        `members` sees it.
        """
        if self._copy is None:
            raise InvalidArgumentError(
                f"{self!r} uses no consolidated metadata; open it with mode='r' and "
                f"use_consolidated=True"
            )
        check = CodecCheck(self._options)
        twins: dict[int, Array] = {}
        for path in self._copy.paths() if recursive else self._copy.names():
            metadata = self._copy.get(path, check)
            assert metadata is not None, "the copy names it"
            full = join(self._path, path)
            # Metadata of arrays laid out alike shares its codecs; so do the handles.
            twin = twins.get(id(metadata.codecs)) if isinstance(metadata, ArrayMetadata) else None
            if twin is not None and isinstance(metadata, ArrayMetadata):
                yield path, open_array_like(twin, full, metadata)
                continue
            member = open_node(
                self._store,
                full,
                metadata,
                options=self._options,
                read_only=self._read_only,
                copy=self._copy.below(path),
            )
            if isinstance(member, Array):
                twins[id(member.metadata.codecs)] = member
            yield path, member

    # -- making members -------------------------------------------------------------------------

    def create_array(self, name: str, **arguments: Any) -> Array:
        """Make an array below the group, in its format; as `chunkstore.create_array`."""
        documents.check_open_for_writing(self.read_only, repr(self))
        return make_array(
            self._store,
            join(self._path, normalize_path(name)),
            **{"options": self._options, "zarr_format": self._metadata.zarr_format, **arguments},
        )

    def create_group(
        self, name: str, *, attributes: Mapping[str, Any] | None = None, overwrite: bool = False
    ) -> Group:
        """Make a group below the group; parameters as in `chunkstore.create_group`."""
        documents.check_open_for_writing(self.read_only, repr(self))
        return create_group(
            self._store,
            join(self._path, normalize_path(name)),
            attributes=attributes,
            overwrite=overwrite,
            zarr_format=self._metadata.zarr_format,
            options=self._options,
        )

    def require_group(self, name: str) -> Group:
        """Give the group of this name, making it if nothing is there."""
        found = self.get(name)
        if found is None:
            return self.create_group(name)
        documents.require_group(found.metadata, self._store, found.path)
        group: Group = found
        return group

    def require_groups(self, *names: str) -> tuple[Group, ...]:
        """Give the groups of these names, making those that are not there."""
        return tuple(self.require_group(name) for name in names)

    def require_array(
        self, name: str, *, shape: Any, dtype: Any = None, exact: bool = False, **arguments: Any
    ) -> Array:
        """Give the array of this name, making it if nothing is there.

        Parameters
        ----------
        name : str
            Path below the group.
        shape, dtype
            What it must be.
        exact : bool
            Whether an array that is there must be of `dtype`, not of one it can be cast to.
        **arguments
            Of `create_array`, for an array that is made.

        Raises
        ------
        NodeTypeError
            If a group is there.
        InvalidArgumentError
            If the array there has another shape, or a dtype that `dtype` cannot be cast to.
        """
        found = self.get(name)
        if found is None:
            return self.create_array(name, shape=shape, dtype=dtype, **arguments)
        documents.require_array(found.metadata, self._store, found.path)
        made: Array = found
        wanted = extents("shape", shape, least=0)
        casting: Literal["no", "safe"] = "no" if exact else "safe"
        fits = dtype is None or np.can_cast(from_numpy(dtype).dtype, made.dtype, casting)
        if made.shape != wanted or not fits:
            raise InvalidArgumentError(
                f"{made!r} is there already, expected shape {wanted} and dtype {dtype}"
            )
        return made

    def empty(self, name: str, *, shape: Any, dtype: Any = "float64", **arguments: Any) -> Array:
        """Make an array that reads as the fill value; no chunk is stored."""
        return self.create_array(name, shape=shape, dtype=dtype, **arguments)

    def zeros(self, name: str, *, shape: Any, **arguments: Any) -> Array:
        """Make an array of zeros; no chunk is stored."""
        return self.empty(name, shape=shape, fill_value=0, **arguments)

    def ones(self, name: str, *, shape: Any, **arguments: Any) -> Array:
        """Make an array of ones; no chunk is stored."""
        return self.empty(name, shape=shape, fill_value=1, **arguments)

    def full(self, name: str, *, shape: Any, fill_value: Any, **arguments: Any) -> Array:
        """Make an array of one value, by default of its dtype; no chunk is stored."""
        dtype = arguments.pop("dtype", np.asarray(fill_value).dtype)
        return self.empty(name, shape=shape, dtype=dtype, fill_value=fill_value, **arguments)

    def empty_like(self, name: str, *, data: Any, **arguments: Any) -> Array:
        """Make an array laid out like another one, with its fill value."""
        changes = {"zarr_format": self._metadata.zarr_format, **arguments}
        return self.create_array(name, **layout_like(data, **changes))

    def zeros_like(self, name: str, *, data: Any, **arguments: Any) -> Array:
        """Make an array of zeros laid out like another one."""
        return self.empty_like(name, data=data, fill_value=0, **arguments)

    def ones_like(self, name: str, *, data: Any, **arguments: Any) -> Array:
        """Make an array of ones laid out like another one."""
        return self.empty_like(name, data=data, fill_value=1, **arguments)

    def full_like(self, name: str, *, data: Any, fill_value: Any, **arguments: Any) -> Array:
        """Make an array of one value laid out like another one."""
        return self.empty_like(name, data=data, fill_value=fill_value, **arguments)

    def move(self, source: str, dest: str) -> None:
        """Give a member, and all below it, another path below this group.

        Raises
        ------
        NodeExistsError
            If something is at `dest`.
        """
        documents.check_open_for_writing(self.read_only, repr(self))
        old, new = (join(self._path, normalize_path(path)) for path in (source, dest))
        documents.move_node(self._store, old, new)

    def __setitem__(self, path: str, value: Any) -> None:
        """Store values as an array at a path below the group, in place of an array there.

        A group that is there is not replaced.
        """
        found = self.get(path)
        if isinstance(found, Group):
            raise NodeExistsError(
                f"cannot store values at {found.path or '/'!r} in {self._store!r}: a group is "
                f"there. Delete it first, or choose another path"
            )
        self.create_array(path, data=np.asarray(value), overwrite=found is not None)

    def __delitem__(self, path: str) -> None:
        documents.check_open_for_writing(self.read_only, repr(self))
        full = join(self._path, normalize_path(path))
        if full == self._path:
            raise InvalidArgumentError(f"{path!r} names no member of {self!r}: nothing was deleted")
        if path not in self:
            raise documents.not_found(self._store, full)
        documents.delete_node(self._store, full)

    # -- for people -----------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Group {self.name} in {self._store!r}>"

    def _facts(self) -> Facts:
        return [
            ("path", self.name),
            ("store", self._store),
            ("format", f"Zarr v{self._metadata.zarr_format}"),
            ("members", ", ".join(self) or "none"),
        ]

    @property
    def info(self) -> Text:
        """What the group is, in a few lines."""
        return as_text("Group", self._facts())

    def _repr_html_(self) -> str:
        return as_html("Group", self._facts())


def open_node(
    store: Store,
    path: str,
    metadata: ArrayMetadata | GroupMetadata,
    *,
    options: Options,
    read_only: bool,
    copy: ConsolidatedCopy | None = None,
) -> Array | Group:
    """Make the handle on a node whose metadata was read."""
    if isinstance(metadata, ArrayMetadata):
        return open_array_node(store, path, metadata, options=options, read_only=read_only)
    return Group(store, path, metadata, options=options, read_only=read_only, copy=copy)


def create_group(
    store: Store,
    path: str,
    *,
    attributes: Mapping[str, Any] | None,
    overwrite: bool,
    zarr_format: int,
    options: Options,
) -> Group:
    """Make a group in a store; see `chunkstore.create_group`."""
    metadata = GroupMetadata(zarr_format, plain_attributes(attributes))
    documents.make_node(store, path, metadata, overwrite=overwrite)
    return Group(store, path, metadata, options=options)
