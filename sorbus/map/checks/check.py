"""Whether a map makes sense: every finding at once, each with its file, line and fix.

The themes: `check_owners` (who owns what), `check_flows` (what goes where, loops), `check_two_way` (whose change of a
field counts), `check_bound` (kinds, connections, schemas, catalogs), `check_mapping` and `check_types` (the sheets,
whose direct rows `route` has routed), `check_incomplete` (required fields, defaults, references), `check_filters`
(conditions), `check_steps` (process steps), `check_people` (who is asked and called, schedules by hand),
`check_times` (timings, quiet hours, calendars), `check_secrets`, `examples`.
Nothing outside the map's folder is reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sorbus.map.checks.bound import bind
from sorbus.map.checks.filters import check_filters
from sorbus.map.checks.flows import check_flows
from sorbus.map.checks.incomplete import check_incomplete
from sorbus.map.checks.mapping import check_mapping
from sorbus.map.checks.owners import check_owners
from sorbus.map.checks.people import check_limits, check_people
from sorbus.map.checks.secrets import check_secrets
from sorbus.map.checks.steps import check_steps
from sorbus.map.checks.times import check_calendars, check_system_times
from sorbus.map.checks.two_way import check_two_way
from sorbus.map.examples import check_examples
from sorbus.map.json_schema import json_schema

if TYPE_CHECKING:
    from sorbus.errors import Finding
    from sorbus.map.loaded import LoadedMap

__all__ = ["check", "check_to_run", "json_schema"]


def check(loaded: LoadedMap) -> list[Finding]:
    """Every finding in a map, ordered by file and line; empty if it is valid. Secrets need not be set."""
    return sorted(
        {
            *check_to_run(loaded),
            *check_people(loaded),
            *check_calendars(loaded),
            *check_examples(bind(loaded.for_check())),
        }
    )


def check_to_run(loaded: LoadedMap) -> list[Finding]:
    """The findings that prevent running: all except people's and the examples', which are tests."""
    bound = bind(loaded.for_check())
    findings = [
        *bound.findings,
        *check_owners(bound),
        *check_flows(bound),
        *check_two_way(bound),
        *loaded.unrouted,
        *check_mapping(bound),
        *check_incomplete(bound),
        *check_filters(bound),
        *check_steps(bound),
        *check_limits(loaded),
        *check_system_times(loaded),
        *check_secrets(loaded),
    ]
    return sorted(set(findings))
