"""Queries about what stands under a table's name, and what would be lost if it were replaced.

Names are letters, digits and underscores, so they need no escaping.
"""

from collections.abc import Sequence

from engine.connectors.databases.uri import Kind

# What PostgreSQL drops together with a table: a condition on its row `c` of pg_class, and its name.
_POSTGRES_LOSSES = {
    "c.relkind = 'p'": "partitions",
    "c.relispartition": "a place among the partitions of another table",
    "c.relkind <> 'p' AND NOT c.relispartition AND EXISTS "
    "(SELECT FROM pg_inherits WHERE c.oid IN (inhrelid, inhparent))": "inheritance",
    "c.relrowsecurity OR c.relforcerowsecurity OR EXISTS "
    "(SELECT FROM pg_policy WHERE polrelid = c.oid)": "row-level security",
    "EXISTS (SELECT FROM pg_publication_rel WHERE prrelid = c.oid)": "a publication",
    "c.relreplident <> 'd'": "a replica identity",
    "EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND NOT tgisinternal)": "triggers",
    "EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid)": "rules",
    "EXISTS (SELECT FROM pg_seclabel WHERE objoid = c.oid AND classoid = 'pg_class'::regclass)": (
        "security labels"
    ),
    "EXISTS (SELECT FROM pg_constraint WHERE confrelid = c.oid AND conrelid <> c.oid)": (
        "foreign keys of tables that depend on it"
    ),
    "EXISTS (SELECT FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid "
    "WHERE d.refobjid = c.oid AND d.refclassid = 'pg_class'::regclass "
    "AND d.classid = 'pg_rewrite'::regclass AND r.ev_class <> c.oid)": "views that depend on it",
}
# What a new table gets from the old one: owner, grants and comments. The owner comes last, because only
# the owner may give the others.
_INHERIT = """
DO $inherit$
DECLARE
    old CONSTANT regclass := '{old}';
    new CONSTANT regclass := '{new}';
    statement text;
BEGIN
    FOR statement IN
        SELECT said FROM (
            SELECT 1 AS place, format('GRANT %s ON %s TO %s', privilege_type, new, role) || grantable AS said
            FROM (
                SELECT privilege_type, {role} AS role, {grantable} AS grantable
                FROM pg_class, aclexplode(relacl) WHERE oid = old
            ) AS of_table
            UNION ALL
            SELECT 1, format('GRANT %s (%I) ON %s TO %s', privilege_type, attname, new, role) || grantable
            FROM (
                SELECT privilege_type, attname, {role} AS role, {grantable} AS grantable
                FROM pg_attribute, aclexplode(attacl) WHERE attrelid = old AND {in_both}
            ) AS of_column
            UNION ALL
            SELECT 1, format('COMMENT ON TABLE %s IS %L', new, obj_description(old, 'pg_class'))
            WHERE obj_description(old, 'pg_class') IS NOT NULL
            UNION ALL
            SELECT 1, format('COMMENT ON COLUMN %s.%I IS %L', new, attname, col_description(old, attnum))
            FROM pg_attribute
            WHERE attrelid = old AND {in_both} AND col_description(old, attnum) IS NOT NULL
            UNION ALL
            SELECT 2, format('ALTER TABLE %s OWNER TO %s', new, o.relowner::regrole)
            FROM pg_class AS o JOIN pg_class AS n ON n.oid = new
            WHERE o.oid = old AND o.relowner <> n.relowner
        ) AS statements ORDER BY place
    LOOP
        EXECUTE statement;
    END LOOP;
END
$inherit$
"""
_ROLE = "CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END"
_GRANTABLE = "CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END"
_IN_BOTH = (
    "attnum > 0 AND NOT attisdropped AND attname IN "
    "(SELECT attname FROM pg_attribute WHERE attrelid = new AND NOT attisdropped)"
)


def schema_query(table: str) -> str:
    """The schema in which PostgreSQL finds a table, or would create it; null if there is none."""
    return (
        "SELECT coalesce((SELECT nspname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace "  # noqa: S608
        f"WHERE pg_class.oid = to_regclass('\"{table}\"')), current_schema())::text"
    )


def found_query(kind: Kind, schema: str | None, table: str, marks: Sequence[str]) -> str:
    """What a name refers to: `no schema`, `nothing`, `no table` (such as a view), a `table`, or `scores`.

    Args:
        kind: The kind of database.
        schema: The schema; none in SQLite, the current one in DuckDB.
        table: The name.
        marks: The columns that a table of scores has.
    """
    columns = ", ".join(f"'{mark}'" for mark in marks)
    facts = {"postgresql": _postgres_facts, "sqlite": _sqlite_facts, "duckdb": _duckdb_facts}
    return (
        "SELECT CASE WHEN NOT has_schema THEN 'no schema' WHEN NOT is_there THEN 'nothing' "  # noqa: S608
        f"WHEN NOT is_table THEN 'no table' WHEN marks < {len(marks)} THEN 'table' ELSE 'scores' END "
        f"FROM ({facts[kind](schema, table, columns)}) AS f"
    )


def losses_query(kind: Kind, schema: str | None, table: str) -> str:
    """What would be lost with a table and cannot be given to a new one, in words; null if nothing."""
    if kind == "postgresql":
        losses = ", ".join(
            f"({condition}, '{what}')" for condition, what in _POSTGRES_LOSSES.items()
        )
        return (
            f"SELECT string_agg(what, ', ') FROM pg_class AS c, LATERAL (VALUES {losses}) "  # noqa: S608
            f'AS l(is_there, what) WHERE is_there AND c.oid = to_regclass(\'"{schema}"."{table}"\')'
        )
    if kind == "sqlite":
        return (
            "SELECT CASE WHEN count(*) > 0 THEN 'triggers' END FROM sqlite_master "  # noqa: S608
            f"WHERE type = 'trigger' AND lower(tbl_name) = lower('{table}')"
        )
    return (
        "SELECT CASE WHEN count(*) > 0 THEN 'foreign keys of tables that depend on it' END "  # noqa: S608
        "FROM duckdb_constraints() WHERE database_name = current_catalog() "
        f"AND constraint_type = 'FOREIGN KEY' AND lower(referenced_table) = lower('{table}')"
    )


def inherit_statement(old: str, new: str) -> str:
    """Give a new table of PostgreSQL the owner, grants and comments of the old one."""
    return _INHERIT.format(old=old, new=new, role=_ROLE, grantable=_GRANTABLE, in_both=_IN_BOTH)


def _postgres_facts(schema: str | None, table: str, marks: str) -> str:
    there = f'to_regclass(\'"{schema}"."{table}"\')'
    return (
        f"SELECT to_regnamespace('\"{schema}\"') IS NOT NULL AS has_schema, "  # noqa: S608
        f"{there} IS NOT NULL AS is_there, "
        f"EXISTS (SELECT FROM pg_class WHERE oid = {there} AND relkind IN ('r', 'p')) AS is_table, "
        "(SELECT count(*) FROM pg_attribute WHERE NOT attisdropped "
        f"AND attrelid = {there} AND attname IN ({marks})) AS marks"
    )


def _sqlite_facts(_schema: str | None, table: str, marks: str) -> str:
    return (
        "SELECT 1 AS has_schema, count(*) > 0 AS is_there, "  # noqa: S608
        "coalesce(max(type = 'table'), 0) AS is_table, "
        f"(SELECT count(*) FROM pragma_table_info('{table}') WHERE name IN ({marks})) AS marks "
        f"FROM sqlite_master WHERE type IN ('table', 'view', 'index') AND lower(name) = lower('{table}')"
    )


def _duckdb_facts(schema: str | None, table: str, marks: str) -> str:
    schema = f"'{schema}'" if schema else "current_schema()"
    where = (
        f"table_catalog = current_catalog() AND table_schema = {schema} "
        f"AND lower(table_name) = lower('{table}')"
    )
    return (
        "SELECT (SELECT count(*) > 0 FROM information_schema.schemata "  # noqa: S608
        f"WHERE catalog_name = current_catalog() AND schema_name = {schema}) AS has_schema, "
        "count(*) > 0 AS is_there, "
        "coalesce(bool_and(table_type = 'BASE TABLE'), false) AS is_table, "
        f"(SELECT count(*) FROM information_schema.columns WHERE {where} "
        f"AND column_name IN ({marks})) AS marks FROM information_schema.tables WHERE {where}"
    )
