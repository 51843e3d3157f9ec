"""What `sorbus plan` finds, as a diagnosis."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sorbus.connector import Step
from sorbus.diagnosis import Diagnosis

_SHOWN = 3


def of_steps(where: str, what: str, steps: Sequence[Step]) -> Iterator[Diagnosis]:
    """Those that `sorbus apply` does as one problem, those left for a person each as one."""
    for step in steps:
        if step.at_start:
            yield Diagnosis(where, what, f"{step.what}: {step.detail}")
    left = [step for step in steps if not step.at_start]
    if not left:
        yield Diagnosis(where, what, "as the map says")
    ours = [f"{step.what} ({step.detail})" if step.detail else step.what for step in left if step.apply is not None]
    if ours:
        more = f" and {len(ours) - _SHOWN} more" if len(ours) > _SHOWN else ""
        found = f"not yet as the map says: {'; '.join(ours[:_SHOWN])}{more}"
        yield Diagnosis(where, what, found, "problem", "`sorbus plan` shows all of it, `sorbus apply` does it")
    for step in left:
        if step.apply is None:
            yield Diagnosis(where, what, step.what, "problem", step.detail or "a person has to do it")
