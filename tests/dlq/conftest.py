"""Dead letters are tested on a flow of gadgets, with an index of them."""

from __future__ import annotations

from tests.dlq.plugin import line, make_line, post, state

__all__ = ["line", "make_line", "post", "state"]
