"""A store in a table of SQLite: what a backend of a third party looks like, from end to end.

It is safe between threads and processes, updates and appends too, because its two conditional
verbs are each one statement of SQL; the rest is inherited. `TestSqlite` runs the contract on it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from chunkstore.errors import StoreError
from chunkstore.stores.backend import (
    Buffer,
    ConditionalStore,
    Listing,
    Version,
    Versioned,
    check_key,
    check_prefix,
    is_temporary,
    listing_of,
)

TABLE = """
CREATE TABLE IF NOT EXISTS stored (
    key TEXT PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL
) WITHOUT ROWID
"""
SET = """
INSERT INTO stored VALUES (?, ?, 1)
ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = version + 1
"""
CREATE = "INSERT INTO stored VALUES (?, ?, 1) ON CONFLICT (key) DO NOTHING"
REPLACE = "UPDATE stored SET value = ?, version = version + 1 WHERE key = ? AND version = ?"
# Not LIKE, which takes small letters and capitals for the same.
BELOW = "SELECT key FROM stored WHERE substr(key, 1, length(?1)) = ?1 ORDER BY key"


class SqliteStore(ConditionalStore):
    """A store in one table of a database file."""

    def __init__(self, file: str, *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only)
        self.file = os.path.abspath(file)

    def spec(self) -> tuple[str, dict[str, Any]]:
        """Give what another handle is made of: equality, hash and pickles follow from it."""
        return self.file, {"read_only": self.read_only}

    @contextmanager
    def _database(self, verb: str, key: str) -> Iterator[sqlite3.Connection]:
        """Give a connection, in a transaction; every error names the key."""
        try:
            with closing(sqlite3.connect(self.file, timeout=60)) as connection:
                connection.execute(TABLE)
                with connection:
                    yield connection
        except sqlite3.Error as error:
            raise StoreError(
                f"cannot {verb} {key!r} in {self!r}: {error}", store=self, key=key
            ) from error

    def get(self, key: str) -> bytes | None:
        """Read a value."""
        found = self.read_version(check_key(key))
        return None if found is None else found.value

    def set(self, key: str, value: Buffer) -> None:
        """Store a value, whatever was there."""
        self.check_writable()
        self.keep_lease(check_key(key))
        with self._database("write", key) as database:
            database.execute(SET, (key, bytes(value)))

    def delete(self, key: str) -> None:
        """Delete a value."""
        self.check_writable()
        self.keep_lease(check_key(key))
        with self._database("delete", key) as database:
            database.execute("DELETE FROM stored WHERE key = ?", (key,))

    def list_dir(self, prefix: str) -> Listing:
        """List one level."""
        with self._database("list", check_prefix(prefix)) as database:
            keys = [key for (key,) in database.execute(BELOW, (prefix,))]
        return listing_of((key for key in keys if not is_temporary(key)), prefix)

    # -- what makes updates and locks safe between processes ------------------------------------

    def has_conditions(self) -> bool:
        """Say that the two verbs below can be relied on."""
        return True

    def read_version(self, key: str) -> Versioned | None:
        """Read a value and its version."""
        with self._database("read", key) as database:
            found = database.execute(
                "SELECT value, version FROM stored WHERE key = ?", (key,)
            ).fetchone()
        return None if found is None else Versioned(found[0], {"version": str(found[1])})

    def write_if(self, key: str, value: Buffer, version: Version | None) -> bool:
        """Store a value if the stored one is still of this version, or still absent."""
        self.check_writable()
        with self._database("write", key) as database:
            if version is None:
                done = database.execute(CREATE, (key, bytes(value)))
            else:
                done = database.execute(REPLACE, (bytes(value), key, int(version["version"])))
            return done.rowcount == 1
