"""The filters that rules may use; importing this package declares them all in FILTERS.

Another package adds its own by naming a module under the entry point group `sorbus.filters`, in which functions are
declared by `rule_filter`, as ours are.
"""

from importlib.metadata import entry_points

from sorbus.mapping.filters import (
    address,
    choice,
    code,
    contact,
    moment,
    money,
    number,
    person,
    phone,
    reference,
    text,
    written_date,
)  # fmt: skip
from sorbus.mapping.filters.registry import FILTERS, Filter, Table, rule_filter

for _entry in entry_points(group="sorbus.filters"):
    _entry.load()

__all__ = [
    "FILTERS", "Filter", "Table", "address", "choice", "code", "contact", "moment", "money", "number", "person",
    "phone", "reference", "rule_filter", "text", "written_date",
]  # fmt: skip
