"""The hot paths of a row in C, where they were compiled: without them Python does the same, slower.

Python is the definition: the C code hands back what isn't plainly the usual case, and tests compare the two. Whoever
calls `codec` looks at `absence` first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

_INTERFACE = 5
"""What this Python calls. `codec.c` names the same number, so that one compiled from other sources isn't used."""

absence = ""
"""Why there is no `codec`; "" where there is."""

if TYPE_CHECKING:
    from sorbus.native import _codec as codec
elif os.environ.get("SORBUS_NO_EXTENSION"):
    codec, absence = None, "turned off by SORBUS_NO_EXTENSION"
else:
    try:
        from sorbus.native import _codec as codec
    except ImportError as error:
        codec, absence = None, f"not compiled for this Python: {error.msg}"
    else:
        if codec.INTERFACE != _INTERFACE:
            codec, absence = None, "compiled from other sources than these: install Sorbus again"
