"""The gateway's SQLite file: nothing else knows SQL.

connection   one writer, readers beside it, and what damage or absence looks like
migrations   the tables, version by version
policy       clients, keys, entitlements, marks
usage        sessions and counters: what audits ask for
changes      what administrators did, chained by hashes
snapshot     a copy at one moment, for backups
"""

from ssmd.gateway.database.connection import Database, fresh, open_database

__all__ = ["Database", "fresh", "open_database"]
