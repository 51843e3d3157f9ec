"""The filters that rules may use; importing this package declares them all in FILTERS."""

from sorbus.mapping.filters import choice, code, moment, number, text
from sorbus.mapping.filters.registry import FILTERS, Filter, Table, rule_filter

__all__ = ["FILTERS", "Filter", "Table", "choice", "code", "moment", "number", "rule_filter", "text"]
