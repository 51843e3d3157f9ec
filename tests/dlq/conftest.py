"""Dead letters are tested on a flow of gadgets."""

from __future__ import annotations

from tests.consumers.plugin import line, make_line

__all__ = ["line", "make_line"]
