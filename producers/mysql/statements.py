"""What a statement in the log does to captured tables; no I/O. What can't be told counts as a change."""

from __future__ import annotations

import re
from typing import NamedTuple

_PIECE = re.compile(r"'(?:[^'\\]|\\.)*+'?|\"(?:[^\"\\]|\\.)*+\"?|`[^`]*+`?|(?P<comment>/\*(?!M?!)|--\s|#)", re.DOTALL)
"""A text or a name in quotes, to its end, or the beginning of a comment."""
_SETTING = re.compile(
    r"^set\s+statement\s(?:'(?:[^'\\]|\\.)*+'|\"(?:[^\"\\]|\\.)*+\"|`[^`]*+`|[^'\"`])*?\bfor\s+",
    re.IGNORECASE | re.DOTALL,
)
"""MariaDB's variables for one statement, which follows."""
_EXPLAINED = re.compile(
    r"^analyze\s+(?:format\s*=\s*\S+\s+)?(?=insert|replace|update|delete|with|select)", re.IGNORECASE
)
"""MariaDB's way to carry a statement out and say how."""
_VERSIONED = re.compile(r"/\*M?!\d*|\*/")
_NAME = r"(?:`(?:[^`]|``)+`|[\w$]+)"
_TRUNCATE = re.compile(rf"^truncate\s+(?:table\s+)?({_NAME})(?:\s*\.\s*({_NAME}))?\s*;?\s*$", re.IGNORECASE)
_WRITE = re.compile(
    rf"^(?:insert|replace)\s+(?:low_priority\s+|delayed\s+|high_priority\s+|ignore\s+)*(?:into\s+)?({_NAME})"
    rf"(?:\s*\.\s*({_NAME}))?",
    re.IGNORECASE,
)
_XA = re.compile(
    r"^xa\s+(start|begin|end|prepare|commit|rollback)\s+(.*?)(?:\s+one\s+phase)?\s*$", re.IGNORECASE | re.DOTALL
)
_REPLACING = re.compile(r"^create\s+or\s+replace\s+(database\b|schema\b)?", re.IGNORECASE)
_ACCOUNT = r"(?:`(?:[^`]|``)*`|'(?:[^']|'')*'|\"[^\"]*\"|[^\s@`'\"]+)"
_PROGRAM = re.compile(
    rf"^(?:create|alter|drop)\s+(?:algorithm\s*=\s*\w+\s+)?(?:definer\s*=\s*{_ACCOUNT}(?:\s*@\s*{_ACCOUNT})?\s+)?"
    r"(?:sql\s+security\s+\w+\s+)?(?:aggregate\s+)?(?:view|trigger|function|procedure|package|event)\b",
    re.IGNORECASE,
)
"""What statements may write through, and rows never change with."""
_NO_ROWS = {
    "create index", "drop index", "create user", "drop user", "alter user", "create role", "drop role",
    "create server", "drop server", "alter server", "rename user", "create fulltext", "create spatial",
    "create sequence", "drop sequence", "alter sequence", "create database", "create schema", "create temporary",
    "drop temporary",
}  # fmt: skip
_SILENT = {"analyze", "optimize", "repair", "check", "flush", "grant", "revoke", "set", "use", "savepoint", "release"}
_ALTER = re.compile(
    rf"^alter\s+(?:online\s+)?(?:ignore\s+)?table\s+(?:if\s+exists\s+)?{_NAME}(?:\s*\.\s*{_NAME})?"
    r"(?:\s+(?:nowait|wait\s+\d+))?",
    re.IGNORECASE,
)
_OF_KEYS = re.compile(
    r"^(?:(?:add|drop|rename|alter)\s+(?:unique|fulltext|spatial|index|key|constraint|foreign|check|primary)\b"
    r"|alter\s+(?:column\s+)?\S+\s+(?:set|drop)\s+default\b|(?:auto_increment|comment|algorithm|lock|stats_\w+)\b)",
    re.IGNORECASE,
)
_OF_COLUMNS = re.compile(
    r"^(?:add|drop|modify|change|rename\s+column)\b(?!\s+(?:partition|system|period)\b)", re.IGNORECASE
)
_MAKES_UNIQUE = re.compile(r"^add\b.*?\b(?:unique|primary)\b", re.IGNORECASE | re.DOTALL)
_IGNORING = re.compile(r"^alter\s+(?:online\s+)?ignore\b", re.IGNORECASE)
_MOVES = re.compile(r"^\s*(?:drop|rename|create\s+or\s+replace)\b|\brename\b", re.IGNORECASE)
_OF_DATABASE = re.compile(r"(?:drop|alter|create\s+or\s+replace)\s+(?:database|schema)\b", re.IGNORECASE)
_DROPS_REFERENCE = re.compile(r"\bdrop\s+(?:foreign|constraint)\b", re.IGNORECASE)
_UNREAD = "\ufffd"
"""What stands for letters of a client whose character set isn't UTF-8."""
_QUOTES = "'\"`"


class Effect(NamedTuple):
    """What a statement is: `kind` begin, commit, rollback, xa, truncate, ddl, dml, program (of views, triggers and the
    like), none.


    `tables`: those that it names as its own target (truncate, insert); None: any that its text names. `columns` of DDL:
    the texts in which a column must be named for its values to be others; None: all of the rows may be others. `keys`:
    the texts that make the columns that they name unique. Until then, rows may have gone whose key another one had.
    """

    kind: str
    tables: tuple[tuple[str, str], ...] | None = None
    columns: tuple[str, ...] | None = None
    xa: tuple[str, str] | None = None
    keys: tuple[str, ...] = ()


def _without_comments(text: str) -> str:
    """By hand: for an expression, every one that nothing closes (in a text) would be a search to the end."""
    kept, at, look, last = list[str](), 0, 0, text.rfind("*/")
    while found := _PIECE.search(text, look):
        start, inside = found.start(), found.start() + 2
        if found["comment"] is None or (found[0] == "/*" and last < inside):
            look = found.end()
            continue
        end = text.find("*/", inside) + 2 if found[0] == "/*" else text.find("\n", start)
        kept += (text[at:start], " ")
        at = look = end if end >= 0 else len(text)
    return "".join([*kept, text[at:]])


def _bare(text: str) -> str:
    """Without comments, and without what stands before the statement itself."""
    bare = _VERSIONED.sub(" ", _without_comments(text)).strip()
    while found := _SETTING.match(bare) or _EXPLAINED.match(bare):
        bare = bare[found.end() :]
    return bare


def effect_of(text: str, database: str) -> Effect:
    """What a statement of the log does."""
    bare = _bare(text)
    if found := _REPLACING.match(bare):
        bare = f"{'drop' if found.group(1) else 'create'} {found.group(1) or ''}{bare[found.end() :]}"
    words = bare.lower().split(None, 2)
    first = words[0].rstrip(";") if words else ""
    two = " ".join(words[:2])
    if first in ("begin", "start"):
        return Effect("begin")
    if first == "commit":
        return Effect("commit")
    if first == "rollback":
        return Effect("rollback")
    if first == "xa" and (found := _XA.match(bare)):
        return Effect("xa", xa=(found.group(1).lower(), " ".join(found.group(2).split())))
    if _PROGRAM.match(bare):
        return Effect("program")
    if first in _SILENT or two in _NO_ROWS:
        return Effect("none")
    is_readable = _UNREAD not in text  # a name that can't be read may be any
    if is_readable and (found := _TRUNCATE.match(bare)):
        return Effect("truncate", (_table(found.group(1), found.group(2), database),))
    if first in ("alter", "create", "drop", "rename", "truncate", "import"):
        if two == "create unique":
            return Effect("ddl", columns=(), keys=(bare,))
        columns, keys = _changed_columns(bare)
        return Effect("ddl", columns=columns, keys=keys)
    if is_readable and (found := _WRITE.match(bare)):
        return Effect("dml", (_table(found.group(1), found.group(2), database),))
    return Effect("dml")


def _changed_columns(bare: str) -> tuple[tuple[str, ...] | None, tuple[str, ...]]:
    """The clauses of an ALTER TABLE that are about columns, None where it may do anything to rows; then those that make
    a key unique.
    """
    found = _ALTER.match(bare)
    if found is None or _IGNORING.match(bare):  # rows that a new key doesn't fit are deleted unsaid
        return None, ()
    if "\\" in bare:  # where a text ends is a matter of the session's sql_mode
        return None, ()
    if drops_reference(bare):  # until now, it may have deleted rows unsaid
        return None, ()
    every = _clauses(bare[found.end() :])
    clauses = [one for one in every if not _OF_KEYS.match(one)]
    keys = tuple(one for one in every if _OF_KEYS.match(one) and _MAKES_UNIQUE.match(one))
    return tuple(clauses) if all(_OF_COLUMNS.match(one) for one in clauses) else None, keys


def _clauses(text: str) -> list[str]:
    """Split at the commas that are neither quoted nor in parentheses."""
    found, depth, quote, start = [], 0, "", 0
    for place, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        elif letter == "," and not depth:
            found.append(text[start:place])
            start = place + 1
    return [one.strip() for one in (*found, text[start:]) if one.strip(" ;")]


def drops_reference(text: str) -> bool:
    """Whether a statement may take a foreign key away."""
    return _DROPS_REFERENCE.search(text) is not None


def moves_tables(text: str) -> bool:
    """Whether a statement may take a table away, or its name."""
    return _MOVES.search(_bare(text)) is not None


def names_column(clause: str, column: str) -> bool:
    """Whether a clause names a column; case is ignored."""
    if _UNREAD in clause and not column.isascii():
        return True
    return re.search(rf"(?<![\w$]){re.escape(column.lower())}(?![\w$])", clause.lower().replace("``", "`")) is not None


def names_table(text: str, database: str, table: str, current: str) -> bool:
    """Whether a statement's text names a table, or its database as a whole; case is ignored."""
    lower, wanted = text.lower().replace("``", "`"), table.lower()
    if wanted in lower and re.search(rf"(?<![\w$]){re.escape(wanted)}(?![\w$])", lower):
        return True
    if _UNREAD in text and not (table.isascii() and database.isascii()):
        return True
    if not (database.lower() in lower or database.lower() == current.lower()):
        return False
    return ("database" in lower or "schema" in lower) and _OF_DATABASE.match(_bare(text)) is not None


def _table(first: str, second: str | None, database: str) -> tuple[str, str]:
    names = [one[1:-1].replace("``", "`") if one.startswith("`") else one for one in (first, second) if one]
    return (names[0], names[1]) if len(names) == 2 else (database, names[0])
