"""How long searches at random go on: a third of their examples in the short run, all of them in `make chaos`."""

from __future__ import annotations

import os

THOROUGH = "SORBUS_TEST_THOROUGH"


def examples(most: int) -> int:
    """Hypothesis's `max_examples` for a search of `most`; mark its test with `search`."""
    return most if os.environ.get(THOROUGH) else most // 3
