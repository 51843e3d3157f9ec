"""Whether flows' conditions (`where`, `on_leave`) can be read, and say what happens to records that leave them."""

from __future__ import annotations

from collections.abc import Iterator

from sorbus.errors import Finding
from sorbus.map.checks.bound import Bound
from sorbus.mapping.errors import RuleError
from sorbus.mapping.record_filter import condition_of_flow


def check_filters(bound: Bound) -> Iterator[Finding]:
    """Findings about `where` and `on_leave`."""
    for place, flow in bound.flows.items():
        written, path = flow.flow, ("flows", place)
        if written.where is None:
            if written.on_leave is not None:
                message = f"{written.id} says on_leave, and has no condition that a record could leave"
                yield bound.loaded.finding(
                    (*path, "on_leave"), "unused-on-leave", message, "add where: CONDITION, or delete it"
                )
            continue
        try:
            condition_of_flow(flow)
        except RuleError as error:
            message = f"{written.id}: {error.message}"
            yield bound.loaded.finding((*path, "where"), "bad-condition", message, error.fix)
        if written.on_leave is None:
            message = f"{written.id} doesn't say what happens to a record in {written.to} that no longer fits `where`"
            fix = "add on_leave: delete (as `deletes` says how) or on_leave: keep"
            yield bound.loaded.finding((*path, "where"), "no-on-leave", message, fix)
        elif written.on_leave == "delete" and written.deletes == "ignore":
            message = f"{written.id} deletes records that leave its condition, and ignores deletes"
            yield bound.loaded.finding(
                (*path, "on_leave"), "ignored-on-leave", message, "write on_leave: keep, or deletes: hard or soft"
            )
