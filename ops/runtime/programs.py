"""Which processes a map needs, each with its command line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection
from pathlib import Path

from sorbus.bus.inbox import with_inbox
from sorbus.cli.context import Context
from sorbus.errors import SorbusError
from sorbus.ops.runtime.child import ChildProgram
from sorbus.ops.runtime.planning import producing_systems, running_flows


def programs_of(
    context: Context, *, only: Collection[str] = (), watch: bool = True, console: bool = False
) -> list[ChildProgram]:
    """A producer per owner, a consumer per running flow, webhooks if any are on, the watch, and the console if asked.

    `only` names the systems and flows to run, and "webhooks".

    MapError when the map isn't sound, SorbusError when `only` names nothing that runs.
    """
    loaded = context.load_sound()
    names = {
        **{system: f"produce {system}" for system in producing_systems(loaded)},
        **{flow: f"consume {flow}" for flow in running_flows(loaded)},
        **({"webhooks": "webhooks"} if with_inbox(loaded.map) else {}),
    }
    if unknown := sorted(set(only) - names.keys()):
        raise SorbusError(f"nothing of the map runs under the name {', '.join(unknown)}; there are: {', '.join(names)}")
    wanted = [words for name, words in names.items() if not only or name in only]
    options = ["--map", str(context.map_path), *(["--verbose"] if context.verbose else [])]
    if watch:
        wanted.append("watch")
    if console:
        wanted.append("console")
    command = (_own_command(), *options)
    return [ChildProgram(words, (*command, *words.split(), "--metrics-port", "{port}")) for words in wanted]


def _own_command() -> str:
    """The `sorbus` of this very installation, wherever the shell would look."""
    beside = Path(sys.executable).with_name("sorbus")
    found = str(beside) if beside.exists() else shutil.which("sorbus")
    if found is None:
        raise SorbusError(f"the command sorbus is not beside {sys.executable}; install Sorbus there")
    return found
