"""The rules' reference page, made of the filters' own docstrings."""

from __future__ import annotations

from sorbus.mapping.filters import FILTERS, Filter
from sorbus.mapping.kinds import in_words

_HEAD = """# Mapping rules

Written by `sorbus map rules -o docs/rules.md` from the filters themselves.

A rule is one Jinja expression over `value`, the source field's value; other fields of the record are `record.NAME`.
Filters follow each other with `|`; `~` joins texts; `+ - * / %` calculate in exact decimals; conditions, comparisons,
`and`, `or`, `not`, `in` and lists work as in Jinja. A filter binds closer than arithmetic: `(value / 3) | round(2)`.
Null passes through every filter but those that say otherwise.
"""


def reference() -> str:
    """Every filter with its usage, kinds and docstring, as Markdown."""
    return "\n".join([_HEAD, *(_entry(FILTERS[name]) for name in sorted(FILTERS))])


def _entry(found: Filter) -> str:
    takes = in_words(found.takes) if found.takes else "anything"
    gives = {"same": "what it was given", "any": "anything"}.get(found.gives) or in_words([found.gives])  # type: ignore[list-item]
    return f"## `{found.usage}`\n\nTakes {takes}; gives {gives}.\n\n{found.doc}\n"
