"""`sorbus forget`: one record is erased everywhere, with a receipt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from sorbus.cli.context import Context

app = typer.Typer()


@app.command()
def forget(
    ctx: typer.Context,
    data_type: Annotated[str, typer.Argument(metavar="TYPE", help="The data type, such as customer.")],
    id: Annotated[str, typer.Argument(metavar="ID", help="The record's id at its owner.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the receipt, so no names.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what there is to erase; change nothing.")] = False,
    wait: Annotated[float, typer.Option("--wait", metavar="SECONDS", help="How long flows have to deliver.")] = 60.0,
    file: Annotated[Path | None, typer.Option("--receipt", metavar="FILE", help="Write the receipt as JSON.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The receipt as one JSON object.")] = False,
) -> None:
    """Erase one record everywhere but at its owner: targets, dead letters, Sorbus's own tables; with a receipt.

    Delete it at its owner first: until its producer has published that, nothing is done (exit code 4). Exit code 1
    when something is left that a person must do; run it again then, it only does what is left.

    Examples: sorbus forget customer 4711 --dry-run; sorbus forget customer 4711 --reason "request 23" --receipt r.json
    """
    from datetime import UTC, datetime

    from rich.console import Console

    from sorbus.cli.login import login_name
    from sorbus.errors import ExitCode, UsageError
    from sorbus.ops.forget.forget import Erasure
    from sorbus.ops.forget.receipt import Receipt
    from sorbus.settings import Settings
    from sorbus.state.database import State

    loaded = Context.of(ctx).load_sound()
    if data_type not in loaded.map.data_types:
        raise UsageError(f"the map has no data type {data_type!r}: {', '.join(loaded.map.data_types)}")
    receipt = Receipt(data_type, id, login_name(), reason, datetime.now(UTC), dry_run)
    console = Console(stderr=True).status(f"Erasing {data_type} {id}")
    erasure = Erasure(loaded, Settings(), State.of(loaded.map.topic_prefix), receipt, say=console.update)
    if not (yes or dry_run):
        erasure.refuse_if_owned()
        typer.confirm(f"{data_type} {id} will be erased everywhere, permanently. Continue?", abort=True, err=True)
    with console:
        erasure.run(wait=wait)
    content = json.dumps(receipt.content(), indent=None if as_json else 2, ensure_ascii=False)
    if file is not None:
        file.write_text(json.dumps(receipt.content(), indent=2, ensure_ascii=False) + "\n", "utf-8")
    typer.echo(content if as_json else "\n".join([*receipt.lines(), f"  hash: {receipt.content()['hash']}"]))
    raise typer.Exit(ExitCode.FINE if receipt.complete else ExitCode.FINDINGS)
