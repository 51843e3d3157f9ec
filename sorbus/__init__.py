"""Sorbus, the System-Of-Record bus: keeps a company's tools telling the same story."""

import sys

__version__ = "0.1.0"

# httpx's own command line, which nothing here uses, imports rich: a sixth of each process's start.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
