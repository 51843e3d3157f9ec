"""What a delivered delete leaves of a record in MySQL: the personal columns of rows that stay are blanked."""

from __future__ import annotations

from collections.abc import Mapping

from sorbus.abilities import Erased
from sorbus.connector import BoundFlow
from sorbus.consumers.mysql.options import MysqlTarget
from sorbus.consumers.mysql.writing import MysqlEngine
from sorbus.mapping.assign import Parts
from sorbus.mysql.catalog import MysqlColumn, MysqlTable
from sorbus.mysql.connection import Session, quoted
from sorbus.mysql.text_values import TEXT_TYPES
from sorbus.privacy.mask import personal_names


def erase_rows(
    session: Session,
    flow: BoundFlow,
    tables: Mapping[str, MysqlTable],
    parts: Parts,
    keys: Mapping[str, object],
    *,
    dry_run: bool,
) -> Erased:
    """Blanks what soft or ignored deletes leave: null, or empty text where null isn't allowed. pymysql.Error.

    `keys`: what names the record in each part's table.
    """
    options = flow.options
    assert isinstance(options, MysqlTarget)
    personal, rows, left = personal_names(flow.schema.fields), 0, list[str]()
    with MysqlEngine(session).transaction(force_rollback=dry_run):
        for part, key in keys.items():
            table = tables[part]
            by = quoted(options.children[part].parent if part else options.key)
            count = int(session.value(f"select count(*) from {table.sql} where {by} = %s", [key]) or 0)  # noqa: S608
            if not count:
                continue
            if flow.flow.deletes == "hard":
                left.append(f"{table.full_name} still has its row: see who writes there, and delete it")
                continue
            names = [
                one.into
                for one in parts.get(part, ())
                if ({one.source, *(one.rule.uses if one.rule else ())} & personal or part in personal)
                and one.into in table.columns
                and quoted(one.into) != by
            ]
            blanks = {name: blank for name in names if (blank := _blank(table.columns[name])) is not None}
            if stuck := [name for name in names if name not in blanks]:
                left.append(f"{table.full_name}: {', '.join(stuck)} can't be null: overwrite it, or delete the row")
            if blanks:
                sets = ", ".join(f"{quoted(name)} = {blank}" for name, blank in blanks.items())
                rows += session.execute(f"update {table.sql} set {sets} where {by} = %s", [key])  # noqa: S608
    return Erased(rows, "; ".join(left))


def _blank(column: MysqlColumn) -> str | None:
    """What takes a personal value's place; None where nothing can."""
    if column.nullable:
        return "null"
    return "''" if column.type in TEXT_TYPES else None
