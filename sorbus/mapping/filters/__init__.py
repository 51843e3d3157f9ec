"""The filters that rules may use; importing this package declares them all in FILTERS.

Another package adds its own by naming a module under the entry point group `sorbus.filters`, which declares functions
with `rule_filter`, as ours do.
"""

from importlib.metadata import entry_points

from sorbus.errors import SorbusError
from sorbus.mapping.filters import (
    address,
    choice,
    code,
    contact,
    house_number,
    identifier,
    moment,
    money,
    number,
    person,
    phone,
    reference,
    text,
    written_date,
)  # fmt: skip
from sorbus.mapping.filters.registry import FILTERS, Filter, FilterTable, rule_filter

for _entry in entry_points(group="sorbus.filters"):
    try:
        _entry.load()
    except Exception as error:
        package = _entry.dist.name if _entry.dist is not None else _entry.value
        raise SorbusError(f"the rules' filters of {package} can't be loaded: {error}; fix or uninstall it") from error

__all__ = [
    "FILTERS", "Filter", "FilterTable", "address", "choice", "code", "contact", "house_number", "identifier", "moment",
    "money", "number", "person", "phone", "reference", "rule_filter", "text", "written_date",
]  # fmt: skip
