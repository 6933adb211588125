"""Reads from every new connection whether what it commits is durable."""

import os
import sys

WANTED = {
    "sqlite": {"PRAGMA journal_mode": "wal", "PRAGMA synchronous": 2},
    "postgresql": {"SHOW fsync": "on", "SHOW synchronous_commit": "on"},
}


def check(connection, **_):
    found = {}
    with connection.cursor() as cursor:
        for query in WANTED[connection.vendor]:
            found[query] = cursor.execute(query).fetchone()[0]
    if found != WANTED[connection.vendor]:
        raise RuntimeError(f"the database is not durable here: {found}")
    print(f"process {os.getpid()}: {found}", file=sys.stderr)
