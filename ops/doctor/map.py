"""The map itself."""

from __future__ import annotations

from collections.abc import Iterator

from sorbus.diagnosis import Diagnosis, of_finding
from sorbus.map.checks.check import check_to_run
from sorbus.map.checks.same_system import same_servers
from sorbus.map.loaded import LoadedMap

WHERE = "map"


def examine_map(loaded: LoadedMap) -> Iterator[Diagnosis]:
    """What keeps it from running, words of an earlier release, and systems that turn out to be one."""
    findings = check_to_run(loaded)
    yield from (of_finding(WHERE, finding) for finding in findings)
    for notice in loaded.notices:
        yield Diagnosis(WHERE, "words", notice, "warning", "write the new word; the old one is read until 1.0")
    if not findings:
        yield Diagnosis(WHERE, str(loaded.file), f"{len(loaded.map.systems)} systems, {len(loaded.map.flows)} flows")
        yield from (
            Diagnosis(WHERE, "systems", note, "warning", "see that this is meant") for note in same_servers(loaded)
        )
