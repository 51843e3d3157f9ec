"""Filters that choose: defaults, value tables, booleans."""

from __future__ import annotations

from sorbus.mapping.blank import is_blank
from sorbus.mapping.errors import shown
from sorbus.mapping.filters.registry import FilterTable, rule_filter
from sorbus.mapping.filters.text import as_text
from sorbus.mapping.types import EXACT, TEXT, WHOLE

_YES = frozenset({"true", "t", "yes", "y", "1", "on"})
_NO = frozenset({"false", "f", "no", "n", "0", "off"})


@rule_filter(gives="same", sees_null=True, weight="light")
def default(value: object, instead: object) -> object:
    """`instead` for a null or blank value: `value | default("UK")`."""
    if value.__class__ is str:
        return value if value.strip() else instead
    return instead if is_blank(value) else value


@rule_filter(gives="same", sees_null=True, weight="light")
def coalesce(value: object, *more: object) -> object:
    """The first that is neither null nor blank: `record.mobile | coalesce(record.phone, record.fax)`."""
    for item in (value, *more):
        if not is_blank(item):
            return item
    return None


@rule_filter(gives="same", weight="light")
def nullif(value: object, unwanted: object) -> object:
    """Null instead of a placeholder: `value | nullif("n/a")`."""
    return None if value == unwanted else value


@rule_filter(gives="same", sees_null=True, weight="light")
def required(value: object) -> object:
    """Rejects null and blank, so that the record becomes a dead letter: `value | trim | required`."""
    if is_blank(value):
        raise ValueError("there is no value, and the rule requires one")
    return value


@rule_filter(gives="same", sees_null=True, weight="light")
def when(value: object, condition: object, otherwise: object = None) -> object:
    """The value if a condition holds, otherwise another, or null: `value | when(record.country == "DE", "export")`.

    Both values are evaluated; if the other may be rejected, write `A if CONDITION else B`.
    """
    return value if condition else otherwise


@rule_filter(takes=TEXT | EXACT | {"boolean"}, gives="string", weight="light")
def lookup(value: object, table: FilterTable, unknown: str = "fail") -> object:
    """The value's entry in a table of the map's `lookups:`: `value | lookup("status")`.

    A missing value is rejected; `unknown="pass"` passes it through unchanged, any other text replaces it.
    """
    key = as_text(value)
    if (found := table.rows.get(key)) is not None:
        return found
    if unknown == "fail":
        raise ValueError(f"{shown(value)} is not in the lookup table {table.name}; add it to the map's lookups")
    return key if unknown == "pass" else unknown


@rule_filter(takes=TEXT | WHOLE | {"boolean"}, gives="boolean", weight="middling")
def boolean(value: object, yes: str = "", no: str = "") -> bool:
    """A boolean: true, yes, y, t, 1, on and their opposites, or your words: `value | boolean("Ja", "Nein")`."""
    if isinstance(value, bool):
        return value
    word = as_text(value).strip().lower()
    if yes and word == yes.lower():
        return True
    if no and word == no.lower():
        return False
    if not (yes or no) and word in _YES | _NO:
        return word in _YES
    raise ValueError(f'{shown(value)} is neither yes nor no; write the words used, as in boolean("Ja", "Nein")')
