"""The audit trail: who did what, when and why."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.audit import AuditEntry, AuditFilter, AuditTrail
from sorbus.ops.console.page_context import Section, console_of, render

PAGE = 100
FIELDS = {
    "who": "Who",
    "action": "Did what",
    "subject_kind": "Object type",
    "subject": "Which",
    "data_type": "Data type",
    "record": "Record",
}
"""What can be asked for, as in AuditFilter, and how it is called on the page."""
_PAGES = {
    "letter": "/letter?id={}",
    "drift": "/drift/{}",
    "checklist": "/checklists/{}",
    "flow": "/flows/{}",
    "duplicate": "/duplicates/{}",
    "conflict": "/conflicts/{}",
}
section = Section("Audit trail", "/audit")


def show(request: Request) -> Response:
    """A page of it, the newest first."""
    asked = {name: value.strip() for name in FIELDS if (value := request.query_params.get(name, "").strip())}
    before = request.query_params.get("before", "")
    trail = AuditTrail(console_of(request).state)
    found = trail.page(int(before) if before.isdecimal() else None, PAGE + 1, AuditFilter(**asked))
    page = found[:PAGE]
    following = urlencode({**asked, "before": page[-1].number}) if len(found) > PAGE else None
    return render(
        request,
        "audit.html",
        found=page,
        fields=FIELDS,
        asked=asked,
        following=following,
        page_of=_page_of,
    )


def _page_of(entry: AuditEntry) -> str:
    """The page of what it was done to; "" where there is none."""
    return _PAGES.get(entry.subject_kind, "").format(quote(entry.subject, safe=""))


routes = [Route("/audit", show, methods=["GET"], name="audit")]
