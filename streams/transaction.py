"""A transaction of SQLite, on connections that begin none by themselves (`isolation_level=None`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """`begin immediate … commit`; rolled back whatever is raised in it, or by its commit. sqlite3.Error."""
    database.execute("begin immediate")
    try:
        yield
        database.execute("commit")
    finally:
        # a full disk refuses a commit and leaves what it began, or SQLite has rolled back by itself
        if database.in_transaction:
            database.execute("rollback")
