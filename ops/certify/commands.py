"""`sorbus certify`: a paper that says whether all systems agreed on a data type at a moment."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from sorbus.cli.context import Context

app = typer.Typer()
_CONNECTING = timedelta(minutes=1)
"""So long before the moment the systems are connected, so that nothing comes between it and the snapshot."""


@app.command()
def certify(
    ctx: typer.Context,
    data_type: Annotated[str, typer.Argument(metavar="TYPE", help="The data type.")],
    as_of: Annotated[
        str, typer.Option("--as-of", metavar="TIME", help="A moment to come, such as 2026-11-30T23:59; default: now.")
    ] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Write the certificate to this file.")] = None,
    wait: Annotated[float, typer.Option("--wait", min=1, help="Seconds that a flow may be behind.")] = 60.0,
) -> None:
    """Certify that every system agrees with the owner of a data type, as of one moment, while people go on working.

    All targets are compared with one snapshot of the owner, each once it has what the owner held then. The file holds
    both sides' sums and every record that differed, so that `examples/certificate/check.py`, which knows nothing of
    Sorbus, can check that nothing is left unexplained. Exit code 0: all agree, 1: some records differ, or not all could
    be compared (it says which), 3: unreachable.

    Examples: sorbus certify invoice --out invoices-november.json; sorbus certify order --as-of 2026-11-30T23:59:59
    """
    from sorbus.control_characters import escaped
    from sorbus.errors import ExitCode, UsageError
    from sorbus.ops.certify.cut import Certification, refuse_past, wait_until
    from sorbus.ops.certify.in_words import in_words
    from sorbus.ops.reconcile.commands import progress_bar
    from sorbus.settings import Settings
    from sorbus.telemetry.logs import configure_logs

    configure_logs(f"certify {data_type}", level="WARNING")
    moment = _time(as_of) if as_of else None
    loaded = Context.of(ctx).load_sound()
    if data_type not in loaded.map.data_types:
        raise UsageError(f"the map has no data type {data_type!r}: {', '.join(loaded.map.data_types)}")
    if moment is not None:
        refuse_past(moment)
    if out is not None:
        _refuse_unwritable(out)
    with progress_bar() as progress:
        certification = Certification(loaded, data_type, Settings(), progress, wait=wait)
        if moment is None:
            made = certification.run()
        else:
            wait_until(moment - _CONNECTING, time.sleep, progress)
            made = certification.run(lambda: wait_until(moment, time.sleep, progress))
    for line in in_words(made):
        typer.echo(escaped(line))
    if out is not None:
        digest = made.write(out)
        typer.echo(f"written: {out} (SHA-256 {digest})", err=True)
    raise typer.Exit(0 if made.agrees else ExitCode.FINDINGS)


def _refuse_unwritable(file: Path) -> None:
    """Before the moment, which comes only once. UsageError."""
    from sorbus.errors import UsageError

    is_there = file.exists()
    try:
        with file.open("ab"):
            pass
        if not is_there:
            file.unlink()
    except OSError as error:
        raise UsageError(f"{file} can't be written: {error.strerror or error}") from error


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r} is not a time; write 2026-11-30T23:59") from error
