"""Manual sync in the console: preparing a sheet by a click, and importing what a person has marked."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path, PurePath

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.errors import SorbusError, TransientError
from sorbus.ops.checklists.sheets.manual_sync import MOST_ROWS, SheetImport
from sorbus.ops.checklists.sheets.open_sync import OpenedSync
from sorbus.ops.console.access.user import Role
from sorbus.ops.console.page_context import console_of, done, form_of, needs, person_of, refused, render
from sorbus.spreadsheet.files import SUFFIXES

FIGURE = "figure:"
"""Before a figure's name, in the form."""
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@needs(Role.operator)
def prepare(request: Request) -> Response:
    """The workbook, as a download."""
    flow, here = _flow(request)
    try:
        opened = _open(request, flow)
        records = opened.records(lambda *_: None)
        made = opened.prepare(person_of(request).name, records, MOST_ROWS)
    except TransientError:
        raise
    except SorbusError as error:
        return refused(request, here, str(error))
    if made.sheet is None:
        left = f"; {len(made.left_out):,} records can't be transferred yet, see the data type's dead letters"
        told = "Nothing has changed since the last confirmed round"
        return done(request, here, f"{told}{left if made.left_out else ''}.")
    console_of(request).live.look_again()
    name = f"{flow}-{made.sheet.code}.xlsx"
    return Response(made.file, media_type=_XLSX, headers={"content-disposition": f'attachment; filename="{name}"'})


@needs(Role.operator)
def import_(request: Request) -> Response:
    """What came of the file, row by row."""
    flow, here = _flow(request)
    form = form_of(request)
    upload = form.get("file")
    if not isinstance(upload, UploadFile) or not upload.filename:
        return refused(request, here, "Choose the file with the marks.")
    suffix = PurePath(upload.filename).suffix.lower()
    if suffix not in SUFFIXES:
        return refused(request, here, f"{suffix or 'This file'} can't be read: save it as .xlsx or .csv.")
    try:
        found = _imported(request, flow, upload, suffix, _entered(request), is_trial=form.get("trial") == "1")
    except TransientError:
        raise
    except SorbusError as error:
        return refused(request, here, str(error))
    console_of(request).live.look_again()
    return render(request, "checklists/imported.html", flow=flow, found=found, is_trial=form.get("trial") == "1")


def _entered(request: Request) -> dict[str, Decimal]:
    """The figures in the form; SorbusError for one that is no number."""
    found = {}
    for name, value in form_of(request).items():
        figure, text = name.removeprefix(FIGURE), str(value).strip()
        if figure == name or not text:
            continue
        try:
            number = Decimal(text)
        except InvalidOperation:
            number = Decimal("nan")
        if not number.is_finite():
            raise SorbusError(f"{figure}: {text!r} is not a valid number; write it like 1234.56")
        found[figure] = number
    return found


def _imported(
    request: Request, flow: str, upload: UploadFile, suffix: str, entered: Mapping[str, Decimal], *, is_trial: bool
) -> SheetImport:
    with tempfile.TemporaryDirectory(prefix="sorbus-") as folder:
        path = Path(folder) / f"your file{suffix}"
        path.write_bytes(upload.file.read())
        return _open(request, flow).sync.import_file(path, person_of(request).name, entered=entered, dry_run=is_trial)


def _open(request: Request, flow: str) -> OpenedSync:
    console = console_of(request)
    return OpenedSync(console.loaded, console.settings, console.state, flow)


def _flow(request: Request) -> tuple[str, str]:
    """The flow, and its page."""
    flow = str(request.path_params["flow"])
    if not any(one.id == flow and one.manual is not None for one in console_of(request).loaded.map.flows):
        raise HTTPException(404, f"there is no manual flow called {flow!r}")
    return flow, f"/checklists/{flow}"


routes = [
    Route("/checklists/{flow}/sheet", prepare, methods=["POST"]),
    Route("/checklists/{flow}/import", import_, methods=["POST"]),
]
