"""The audit trail: who did what, when and why."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.audit import AuditEntry, AuditFilter, AuditTrail
from sorbus.ops.console.page_context import Section, console_of, item_paths, render

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
section = Section("Audit trail", "/audit")


def show(request: Request) -> Response:
    """A page of it, the newest first."""
    asked = {name: value.strip() for name in FIELDS if (value := request.query_params.get(name, "").strip())}
    before = request.query_params.get("before", "")
    trail = AuditTrail(console_of(request).state)
    found = trail.page(int(before) if before.isdecimal() else None, PAGE + 1, AuditFilter(**asked))
    page = found[:PAGE]
    paths = {"flow": "/flows/", **item_paths(console_of(request).kinds)}
    following = urlencode({**asked, "before": page[-1].number}) if len(found) > PAGE else None
    return render(
        request,
        "audit.html",
        found=page,
        fields=FIELDS,
        asked=asked,
        following=following,
        page_of=lambda entry: _page_of(entry, paths),
    )


def _page_of(entry: AuditEntry, paths: Mapping[str, str]) -> str:
    """The page of what it was done to; "" where there is none."""
    path = paths.get(entry.subject_kind)
    return path + quote(entry.subject, safe="") if path else ""


routes = [Route("/audit", show, methods=["GET"], name="audit")]
