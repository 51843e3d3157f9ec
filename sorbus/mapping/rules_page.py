"""The rules' reference page, made of the filters' own docstrings."""

from __future__ import annotations

from sorbus.mapping.filters import FILTERS, Filter
from sorbus.mapping.types import in_words

_HEAD = '''# Mapping rules

Written by `sorbus map rules -o docs/rules.md` from the filters themselves.

A rule is one Jinja expression over `value`, the source field's value; other fields of the record are `record.NAME`.
Filters follow each other with `|`; `~` joins texts; `+ - * /` calculate in exact decimals; comparisons, `and`, `or`,
`not`, `in` and lists work as in Jinja. A filter binds closer than arithmetic: `(value / 3) | round(2)`.
Null passes through every filter but those that say otherwise.

Conditions: `"export" if record.country != "DE" else none`, or `record.vat_id | when(record.country == "DE")`.

Where "an expression" may stand for an argument, `record.NAME` may; all other arguments are written out, so that `sorbus
map check` finds a mistake in them before anything runs.

## Filters of your own

A function in a package of yours, declared as ours are, is a filter once the package is installed beside Sorbus:

```python
from sorbus.mapping.filters import rule_filter


@rule_filter(takes={"string"}, gives="string")
def plate(value: str) -> str:
    """A number plate without blanks and hyphens: `value | plate`."""
    if not value.strip():
        raise ValueError("there is no number plate")  # the record becomes a dead letter that says so
    return value.replace(" ", "").replace("-", "").upper()
```

```toml
[project.entry-points."sorbus.filters"]
acme = "acme_rules"   # the module
```

`sorbus map rules` has it with its docstring, and `sorbus map check` knows what it takes and gives. The same value must
always give the same, or write `pure=False`: results are remembered.

# The filters
'''


def reference() -> str:
    """Every filter with its usage, kinds and docstring, as Markdown."""
    return "\n".join([_HEAD, *(_entry(FILTERS[name]) for name in sorted(FILTERS))])


def _entry(found: Filter) -> str:
    takes = in_words(found.takes) if found.takes else "anything"
    gives = {"same": "what it was given", "any": "anything"}.get(found.gives) or in_words([found.gives])  # type: ignore[list-item]
    return f"## `{found.usage}`\n\nTakes {takes}; gives {gives}.\n\n{found.doc}\n"
