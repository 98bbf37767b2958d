"""Databases that give and take tables of users: `tests/integration/databases` tests these faults."""

CASES = {
    "Q01": "a number in every type of a database: the same bits as in Parquet, or 65 naming the column",
    "Q02": "an id in every type: the same id",
    "Q03": "a category padded by CHAR(n): the same score",
    "Q04": "a text, a large number or nothing among the numbers of SQLite: no other number changes",
    "Q05": "a column of SQLite that changes its type late: its type is decided over all rows",
    "Q06": "text of SQLite that is not UTF-8: 65 naming the column; a BLOB among numbers: quarantined, no other value changes",
    "Q07": "a column that cannot be read: left out, or 65 naming it where it is needed",
    "Q08": "whole numbers of DuckDB that no Arrow type holds: 65 naming the column",
    "Q09": "a database in another encoding: the same texts, both ways",
    "T01": "a table with what a new one would not have, such as row-level security: 73 before scoring",
    "T02": "owner, grants and comments of a table: the new one has them",
    "T03": "a table found through search_path: one schema in every statement and in the summary",
    "T04": "a schema that is not there: 73 before scoring",
    "T05": "an id with NUL for PostgreSQL, whose text cannot hold it: quarantined",
    "T06": "a server that falls silent, at the commit too: 69; SIGTERM ends the run within 2 s",
    "T07": "a lock that is held, a session that has died: 69 after a limit; nothing blocks the next run",
    "T08": "a connection cut at every statement: 69 and the old table, or tried again",
}
