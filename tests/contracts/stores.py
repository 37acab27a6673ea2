"""What every store promises, as a class of tests to subclass.

A store of another project is tested by::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(tmp_path)

        def again(self, store, *, read_only=False):
            return MyStore(store.root, read_only=read_only)
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest

from chunkstore import Store
from chunkstore.errors import ConflictError, InvalidArgumentError, ReadOnlyError, StoreError
from chunkstore.types import ByteRange
from chunkstore.workers import run_in_threads

BAD_KEYS = ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a\x00b", "\ud800"]
ODD_KEYS = ["a b", ".zarray", "a.b", "...", "%41", "é/ü", "数", "c/0.0", "CON", "a\\b", "-", "~"]
RANGES = [
    (0, 4),
    (2, None),
    (-3, None),
    (-3, 3),
    (-300, None),
    (0, None),
    (3, 0),
    (8, 100),
    (100, 5),
    (100, None),
    (2, 2),
]


class StoreContract:
    """The contract; a subclass gives an empty store and another handle on the same place."""

    pickles = True
    """Whether the store can be sent to another process; if not, it says so."""

    value = b"0123456789"

    @pytest.fixture
    def store(self) -> Store:
        """Give an empty store that may be written."""
        raise NotImplementedError

    def again(self, store: Store, *, read_only: bool = False) -> Store | None:
        """Give another handle on the place of a store, or None where there cannot be one."""
        raise NotImplementedError

    # -- one value ------------------------------------------------------------------------------

    def test_a_stamp_tells_whether_values_changed(self, store: Store) -> None:
        """Equal for equal values, another after each change; reserved names do not count."""
        store.set("x/a", b"1234")
        before = store.content_stamp("x/")
        if before is None:
            pytest.skip("the store cannot tell versions of values from a listing")
        store.set("y", b"1")
        store.set("x/__ledger__/new", b"1")
        assert (self.again(store) or store).content_stamp("x/") == before
        store.set("x/a", b"4321")
        changed = store.content_stamp("x/")
        store.set("x/b/c", b"")
        added = store.content_stamp("x/")
        store.delete("x/a")
        assert len({before, changed, added, store.content_stamp("x/")}) == 4

    def test_absent_key_is_none(self, store: Store) -> None:
        """Each way to ask for a key that is not stored says so without an error."""
        assert store.get("a/b") is None
        assert store.size("a/b") is None
        assert store.exists("a/b") is False
        assert store.open_value("a/b") is None
        assert store.get_ranges("a/b", [ByteRange(0, 1)]) is None

    @pytest.mark.parametrize(
        "make", [bytes, bytearray, memoryview, lambda b: memoryview(np.frombuffer(b, np.uint8))]
    )
    @pytest.mark.parametrize("n_bytes", [0, 1, 4096, (1 << 20) + 1])
    def test_gives_back_what_was_set(
        self, store: Store, n_bytes: int, make: Callable[[bytes], bytes]
    ) -> None:
        """A value of any length, given in any bytes-like form, is read as the same bytes."""
        value = bytes(range(256)) * (n_bytes // 256 + 1)
        value = value[:n_bytes]
        store.set("a/b", make(value))
        read = store.get("a/b")
        assert isinstance(read, bytes)
        assert read == value
        assert store.size("a/b") == n_bytes
        assert store.exists("a/b") is True

    def test_keeps_its_own_copy(self, store: Store) -> None:
        """Changing the memory that a value was set from does not change what is stored."""
        memory = bytearray(self.value)
        store.set("a", memory)
        memory[:] = b"x" * len(memory)
        assert store.get("a") == self.value

    def test_takes_memory_of_wider_elements(self, store: Store) -> None:
        """A value in memory of longer elements is stored by its bytes."""
        numbers = np.arange(6, dtype="i4")
        store.set("a", memoryview(numbers))
        assert store.get("a") == numbers.tobytes()
        assert store.size("a") == 24

    @pytest.mark.parametrize("shorter", [b"", b"new"])
    def test_replaces_as_a_whole(self, store: Store, shorter: bytes) -> None:
        """Nothing of a longer value is left after it was replaced."""
        store.set("a", self.value)
        store.set("a", shorter)
        assert store.get("a") == shorter
        assert store.size("a") == len(shorter)

    def test_forgets(self, store: Store) -> None:
        """A deleted key is absent, its neighbours stay, and deleting it again does nothing."""
        store.set("a/b", b"1")
        store.set("a/c", b"2")
        store.delete("a/b")
        store.delete("a/b")
        assert store.get("a/b") is None
        assert store.get("a/c") == b"2"

    def test_forgets_many(self, store: Store) -> None:
        """Many keys are deleted with one call, also where some of them are not stored."""
        keys = [f"a/{i}" for i in range(12)]
        for key in keys[::2]:
            store.set(key, b"1")
        store.set("b", b"2")
        store.delete_many(iter(keys[:10]))
        store.delete_many([])
        assert sorted(store.list_prefix()) == ["a/10", "b"]

    def test_a_prefix_is_no_key(self, store: Store) -> None:
        """The start of a key has no value, and deleting it deletes nothing."""
        store.set("a/b", b"1")
        assert store.get("a") is None
        assert store.size("a") is None
        assert not store.exists("a")
        assert store.open_value("a") is None
        store.delete("a")
        assert store.get("a/b") == b"1"
        assert store.get("a/b/c") is None

    def test_key_that_is_also_a_prefix(self, store: Store) -> None:
        """A key below another key is stored beside it, or refused; the first is never lost."""
        store.set("a", b"1")
        with suppress(StoreError):
            store.set("a/b", b"2")
            assert store.get("a/b") == b"2"
        assert store.get("a") == b"1"

    @pytest.mark.parametrize("key", ODD_KEYS)
    def test_odd_keys(self, store: Store, key: str) -> None:
        """Any text that can be a key is one, and is listed as it was given."""
        store.set(key, self.value)
        assert store.get(key) == self.value
        assert list(store.list_prefix()) == [key]
        store.delete(key)
        assert list(store.list_prefix()) == []

    def test_keys_differ_by_case(self, store: Store) -> None:
        """Keys that differ only by case are two keys, or the second is refused."""
        store.set("a", b"small")
        with suppress(StoreError):
            store.set("A", b"capital")
            if store.get("a") == b"capital":
                pytest.skip("the folder is on a file system that does not tell case apart")
        assert store.get("a") == b"small"

    @pytest.mark.parametrize("key", BAD_KEYS)
    def test_refuses_what_cannot_be_a_key(self, store: Store, key: str) -> None:
        """Nothing is stored, read or deleted under a text that could leave the store."""
        for change in (
            lambda: store.set(key, b"1"),
            lambda: store.update(key, lambda _: b"1"),
        ):
            with pytest.raises(InvalidArgumentError):
                change()
        for ask in (store.get, store.size, store.delete, store.open_value):
            with suppress(InvalidArgumentError):
                assert ask(key) is None
        assert list(store.list_prefix()) == []

    def test_own_names_are_no_keys(self, store: Store) -> None:
        """No key may have a part that starts as the names do which stores keep for themselves."""
        for key in ("__chunkstore-x", "a/__chunkstore-x", "__chunkstore-x/a"):
            for change in (
                lambda key=key: store.set(key, b"1"),
                lambda key=key: store.update(key, lambda _: b"1"),
            ):
                with pytest.raises(InvalidArgumentError, match="the store's own"):
                    change()
        assert list(store.list_prefix()) == []
        store.set("a__chunkstore-x", b"1")
        assert store.get("a__chunkstore-x") == b"1"

    # -- parts of a value -----------------------------------------------------------------------

    @pytest.mark.parametrize(("start", "length"), RANGES)
    def test_a_range_is_a_slice(self, store: Store, start: int, length: int | None) -> None:
        """A range gives what slicing gives, counted from either end, cut where the value ends."""
        store.set("a", self.value)
        first = max(0, start + len(self.value)) if start < 0 else start
        expected = self.value[first : None if length is None else first + length]
        assert store.get_ranges("a", [ByteRange(start, length)]) == [expected]

    def test_ranges_keep_their_order(self, store: Store) -> None:
        """Ranges may overlap, repeat and go backwards; each has its answer in its place."""
        store.set("a", self.value)
        ranges = [ByteRange(5, 2), ByteRange(0, 3), ByteRange(1, 3), ByteRange(5, 2)]
        assert store.get_ranges("a", ranges) == [b"56", b"012", b"123", b"56"]
        assert store.get_ranges("a", []) == []

    def test_ranges_of_an_empty_value(self, store: Store) -> None:
        """Parts of a value without bytes are without bytes."""
        store.set("a", b"")
        assert store.get_ranges("a", [ByteRange(0, 4), ByteRange(-4)]) == [b"", b""]

    def test_open_value_stays_one_version(self, store: Store) -> None:
        """Parts read from an open value are one version's, or reading says that it is gone."""
        store.set("a", b"old old old")
        opened = store.open_value("a")
        assert opened is not None
        with opened:
            assert opened.n_bytes == 11
            assert bytes(opened.read(ByteRange(0, 3))) == b"old"
            store.set("a", b"new new new")
            with suppress(ConflictError):
                assert bytes(opened.read(ByteRange(4, 3))) == b"old"
            store.delete("a")
            with suppress(ConflictError):
                assert bytes(opened.read(ByteRange(-3))) == b"old"

    @pytest.mark.parametrize("first", [(0, 4), (-4, None), (3, None), (-300, None), (100, 4)])
    @pytest.mark.parametrize("value", [b"", b"0123456789"])
    def test_open_value_with_a_first_part(
        self, store: Store, first: tuple[int, int | None], value: bytes
    ) -> None:
        """What is said to be read first changes nothing about what is read."""
        assert store.open_value("a", ByteRange(*first)) is None
        store.set("a", value)
        opened = store.open_value("a", ByteRange(*first))
        assert opened is not None
        with opened:
            assert opened.n_bytes == len(value)
            for part in (ByteRange(*first), ByteRange(0, 3), ByteRange(5, None), ByteRange(-2)):
                start = part.start if part.start >= 0 else max(0, len(value) + part.start)
                stop = None if part.length is None else start + part.length
                assert bytes(opened.read(part)) == value[start:stop]

    # -- listing --------------------------------------------------------------------------------

    KEYS = ("a", "ab/x", "b/x", "b/y", "b/z/deep/er", "b-/x", "b.x", "c/zarr.json")

    @pytest.fixture
    def filled(self, store: Store) -> Store:
        """Give a store with values at several depths."""
        for key in self.KEYS:
            store.set(key, key.encode())
        return store

    def test_lists_one_level(self, filled: Store) -> None:
        """A listing has the keys and the longer prefixes directly under one, sorted, in full."""
        assert filled.list_dir("") == (("a", "b.x"), ("ab/", "b-/", "b/", "c/"))
        assert filled.list_dir("b/") == (("b/x", "b/y"), ("b/z/",))
        assert filled.list_dir("b/z/deep/") == (("b/z/deep/er",), ())

    @pytest.mark.parametrize("prefix", ["x/", "a/", "b/x/", "b/z/no/"])
    def test_nothing_under_a_prefix(self, filled: Store, prefix: str) -> None:
        """A prefix that no key has lists nothing, also where it looks like a key."""
        assert filled.list_dir(prefix) == ((), ())
        assert list(filled.list_prefix(prefix)) == []
        filled.delete_prefix(prefix)
        assert sorted(filled.list_prefix()) == sorted(self.KEYS)

    @pytest.mark.parametrize("prefix", ["", "b/", "b/z/", "ab/"])
    def test_lists_all_levels(self, filled: Store, prefix: str) -> None:
        """A deep listing has every key with the prefix, once, and no other."""
        expected = sorted(key for key in self.KEYS if key.startswith(prefix))
        assert sorted(filled.list_prefix(prefix)) == expected

    @pytest.mark.parametrize("prefix", ["", "b/", "b/z/", "ab/"])
    def test_forgets_a_prefix(self, filled: Store, prefix: str) -> None:
        """Forgetting a prefix forgets every key that has it, and no other."""
        filled.delete_prefix(prefix)
        expected = sorted(key for key in self.KEYS if not key.startswith(prefix))
        assert sorted(filled.list_prefix()) == expected
        filled.set("b/z/deep/er", b"again")
        assert filled.get("b/z/deep/er") == b"again"

    @pytest.mark.parametrize("prefix", ["a", "b/z", "/", "../", "b/../", "./"])
    def test_refuses_what_cannot_be_a_prefix(self, filled: Store, prefix: str) -> None:
        """A prefix without its slash, or one that could leave the store, is refused."""
        for ask in (filled.list_dir, filled.delete_prefix, lambda p: list(filled.list_prefix(p))):
            with pytest.raises(InvalidArgumentError):
                ask(prefix)
        assert sorted(filled.list_prefix()) == sorted(self.KEYS)

    # -- updates --------------------------------------------------------------------------------

    def test_update_sees_and_replaces(self, store: Store) -> None:
        """An update is given what is stored, None at first, and what it returns is stored."""
        seen: list[bytes | None] = []

        def grow(stored: bytes | None) -> bytes:
            seen.append(stored)
            return (stored or b"") + b"x"

        store.update("a", grow)
        store.update("a", grow)
        assert seen == [None, b"x"]
        assert store.get("a") == b"xx"

    def test_update_forgets(self, store: Store) -> None:
        """An update that returns None forgets the key, or refuses where it could lose another's."""
        store.set("a", b"1")
        store.update("b", lambda _: None)
        assert list(store.list_prefix()) == ["a"]
        if store.can_forget:
            store.update("a", lambda _: None)
            assert list(store.list_prefix()) == []
        else:
            with pytest.raises(StoreError, match="cannot delete 'a'"):
                store.update("a", lambda _: None)
            assert store.get("a") == b"1"

    def test_failed_update_changes_nothing(self, store: Store) -> None:
        """An exception inside an update comes out as it is, and the value stays; so does use."""
        store.set("a", b"1")

        def fail(_: bytes | None) -> bytes:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.update("a", fail)
        assert store.get("a") == b"1"
        store.update("a", lambda stored: stored)
        assert store.get("a") == b"1"

    def test_no_update_is_lost(self, store: Store) -> None:
        """Updates of one key by several threads, through two handles, all count."""
        handles = [store, self.again(store) or store]

        def count(i: int) -> None:
            handles[i % 2].update("n", lambda stored: str(int(stored or b"0") + 1).encode())

        run_in_threads(count, range(100), n_threads=4)
        assert store.get("n") == b"100"

    def test_lock_keeps_others_out(self, store: Store) -> None:
        """Who holds a lock of a name is alone, through whichever handle it was asked for."""
        handles = [store, self.again(store) or store]
        inside: list[int] = []

        def work(i: int) -> None:
            with handles[i % 2].lock("node", "a/b"):
                inside.append(i)
                assert len(inside) == 1
                # A value's lock may be taken within a node's.
                handles[i % 2].update("a/b/c", lambda _: str(i).encode())
                inside.remove(i)

        run_in_threads(work, range(40), n_threads=4)

    def test_lock_is_given_back(self, store: Store) -> None:
        """A lock is free again after its context, also when that ended in an exception."""
        for _ in range(2):
            with pytest.raises(ZeroDivisionError), store.lock("node", "a"):
                raise ZeroDivisionError
        assert list(store.list_prefix()) == []

    @pytest.mark.parametrize("new", ["new/", "deep/er/new/", "bb/"])
    def test_move_prefix(self, filled: Store, new: str) -> None:
        """Moving a prefix renames all its keys and no other, or says that it cannot."""
        before = {key: filled.get(key) for key in filled.list_prefix()}
        if filled.move_prefix("b/", new):
            moved = {
                new + key[2:] if key.startswith("b/") else key: value
                for key, value in before.items()
            }
        else:
            moved = before
        assert {key: filled.get(key) for key in filled.list_prefix()} == moved

    # -- several at once ------------------------------------------------------------------------

    def test_readers_see_whole_values(self, store: Store) -> None:
        """While a value is being replaced, readers get one version or the other, never a mix."""
        versions = [bytes([i]) * (200_000 + 1000 * i) for i in range(2)]
        store.set("a", versions[0])
        done = threading.Event()

        def read(_: int) -> None:
            while not done.is_set():
                assert store.get("a") in versions

        def write(_: int) -> None:
            try:
                for i in range(60):
                    store.set("a", versions[i % 2])
            finally:
                done.set()

        run_in_threads(lambda work: work(0), [write, read, read], n_threads=3)

    def test_threads_fill_one_folder(self, store: Store) -> None:
        """Values set by several threads below prefixes that are new are all there."""
        keys = [f"deep/{i % 7}/er/{i}" for i in range(120)]
        run_in_threads(lambda key: store.set(key, key.encode()), keys, n_threads=4)
        assert sorted(store.list_prefix("deep/")) == sorted(keys)
        assert all(store.get(key) == key.encode() for key in keys)

    # -- handles --------------------------------------------------------------------------------

    def test_read_only_handle(self, store: Store) -> None:
        """A read-only handle reads everything and refuses every change."""
        store.set("a/b", self.value)
        handle = self.again(store, read_only=True)
        if handle is None:
            handle = store
            handle.read_only = True
        assert handle.read_only
        for change in (
            lambda: handle.set("a/b", b"1"),
            lambda: handle.delete("a/b"),
            lambda: handle.update("a/b", lambda _: None),
            lambda: handle.delete_prefix("a/"),
        ):
            with pytest.raises(ReadOnlyError, match="read-only"):
                change()
        assert handle.get("a/b") == self.value
        assert handle.list_dir("a/") == (("a/b",), ())
        assert handle.get_ranges("a/b", [ByteRange(0, 2)]) == [b"01"]

    def test_handles_on_one_place_are_equal(self, store: Store) -> None:
        """Two handles on one place are equal, hash alike, and see the same values."""
        other = self.again(store) or store
        store.set("a", b"1")
        assert other == store
        assert hash(other) == hash(store)
        assert other.get("a") == b"1"
        assert self.again(store, read_only=True) != store
        assert store != "a store"

    def test_pickle(self, store: Store) -> None:
        """A store travels as a handle on the same place, or refuses with the reason."""
        store.set("a", b"1")
        if not self.pickles:
            with pytest.raises(InvalidArgumentError, match="process"):
                pickle.dumps(store)
            return
        for handle in (store, self.again(store, read_only=True)):
            travelled = pickle.loads(pickle.dumps(handle))
            assert travelled == handle
            assert travelled.read_only == handle.read_only
            assert travelled.get("a") == b"1"

    def test_repr_names_the_class(self, store: Store) -> None:
        """What stands for a store in an error says which kind it is."""
        assert type(store).__name__ in repr(store)
