"""Values of records on pages, and the note of who saw personal ones."""

from __future__ import annotations

import json

from starlette.requests import Request

from sorbus.audit import AuditTrail
from sorbus.ops.console.page_context import console_of, person_of


def text_of(value: object) -> str:
    """A value as people read it; a dash for none."""
    if value in (None, "", [], {}):
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def note_values(request: Request, kind: str, subject: str, data_type: str, record: str) -> None:
    """Writes down who is shown the personal values of what; before they are shown."""
    trail = AuditTrail(console_of(request).state)
    trail.note(person_of(request).name, "show personal values", kind, subject, data_type=data_type, record=record)
