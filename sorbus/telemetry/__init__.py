"""A running process's logs, metrics, health and stop signals."""

import sys

# structlog imports rich if installed, for tracebacks that nothing here draws: a sixth of each process's start.
_rich = sys.modules.get("rich")
sys.modules["rich"] = _rich  # type: ignore[assignment]
import structlog as structlog  # noqa: E402

if _rich is None:
    del sys.modules["rich"]
