"""What a running process tells about itself: logs, metrics, health, and how it hears that it should stop."""

import sys

# structlog imports rich where it is installed, for tracebacks that nothing here draws: a sixth of each process's start.
_rich = sys.modules.get("rich")
sys.modules["rich"] = _rich  # type: ignore[assignment]
import structlog as structlog  # noqa: E402

if _rich is None:
    del sys.modules["rich"]
