"""Which processes a map needs, each with its command line."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path

from sorbus.bus.inbox import with_inbox
from sorbus.errors import SorbusError
from sorbus.map.loaded import LoadedMap
from sorbus.ops.runtime.child import ChildProgram
from sorbus.ops.runtime.planning import producing_systems, running_flows

_TOGETHER = 10
"""Flows in one process at most, unless a person says otherwise: what a crash interrupts at once."""


def programs_of(
    loaded: LoadedMap,
    *,
    verbose: bool = False,
    only: Collection[str] = (),
    watch: bool = True,
    console: bool = False,
    together: int | None = None,
) -> list[ChildProgram]:
    """A producer per owner, the running flows' consumers, webhooks if any are on, the watch, the console if asked.

    `only` names the systems and flows to run, and "webhooks". `together`: how many flows share a process, if
    their connectors say that they may; by default up to ten where there are more flows than processors.

    SorbusError when `only` names nothing that runs.
    """
    names = {
        **{system: f"produce {system}" for system in producing_systems(loaded)},
        **{flow: _consume([flow]) for flow in running_flows(loaded)},
        **({"webhooks": "webhooks"} if with_inbox(loaded.map) else {}),
    }
    if unknown := sorted(set(only) - names.keys()):
        raise SorbusError(f"nothing of the map runs under the name {', '.join(unknown)}; there are: {', '.join(names)}")
    wanted = [words for name, words in names.items() if not only or name in only]
    options = ["--map", str(loaded.file), *(["--verbose"] if verbose else [])]
    if watch:
        wanted.append("watch")
    if console:
        wanted.append("console")
    command = (_own_command(), *options)

    def program(words: str, name: str = "", parts: Sequence[ChildProgram] = ()) -> ChildProgram:
        return ChildProgram(name or words, (*command, *words.split(), "--metrics-port", "{port}"), tuple(parts))

    shared = [flow for flow in running_flows(loaded) if _consume([flow]) in wanted and _may_share(loaded, flow)]
    found = [program(words) for words in wanted]
    for flows in _shares(sorted(shared, key=lambda flow: loaded.map.flow(flow).to), together):
        if len(flows) > 1:
            parts = [one for one in found if one.name in {_consume([flow]) for flow in flows}]
            at = found.index(parts[0])
            found = [one for one in found if one not in parts]
            found.insert(at, program(_consume(flows), _consume([f"{flows[0]} +{len(flows) - 1}"]), parts))
    return found


def connectors_of(loaded: LoadedMap) -> list[object]:
    """The connectors of what runs, loaded."""
    producers: list[object] = [loaded.producer(system) for system in producing_systems(loaded)]
    return producers + [loaded.consumer(loaded.map.flow(flow).to) for flow in running_flows(loaded)]


def _consume(flows: Sequence[str]) -> str:
    return f"consume {' '.join(flows)}"


def _may_share(loaded: LoadedMap, flow: str) -> bool:
    return bool(getattr(loaded.consumer(loaded.map.flow(flow).to), "shares_process", False))


def _shares(flows: Sequence[str], together: int | None) -> list[Sequence[str]]:
    """The flows of each process: as few processes as `together` allows; by default at least one for each processor."""
    least = min(len(flows), os.cpu_count() or 1) if together is None else 1
    count = max(math.ceil(len(flows) / (together or _TOGETHER)), least) if flows else 0
    bounds = [round(place * len(flows) / count) for place in range(count + 1)] if count else [0]
    return [flows[begin:end] for begin, end in pairwise(bounds)]


def _own_command() -> str:
    """The `sorbus` of this very installation, wherever the shell would look."""
    beside = Path(sys.executable).with_name("sorbus")
    found = str(beside) if beside.exists() else shutil.which("sorbus")
    if found is None:
        raise SorbusError(f"the command sorbus is not beside {sys.executable}; install Sorbus there")
    return found
