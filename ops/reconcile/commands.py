"""`sorbus reconcile`: compare a flow's target with its owner, and heal what differs."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.login import login_name
from sorbus.control_characters import escaped

if TYPE_CHECKING:
    from sorbus.ops.reconcile.by_checksums import Progress
    from sorbus.ops.reconcile.by_delivery import Comparison
    from sorbus.ops.reconcile.finding import ReconcileReport
    from sorbus.ops.reconcile.heal import HealPlan
    from sorbus.ops.reconcile.store import StoredDifference

app = typer.Typer()
_SHOWN = 20


@app.command()
def reconcile(
    ctx: typer.Context,
    flow: Annotated[str, typer.Argument(help="The flow whose target is compared with its owner.")],
    changed: Annotated[
        bool, typer.Option("--changed", help="Only records with events since the last whole comparison.")
    ] = False,
    heal: Annotated[
        bool, typer.Option("--heal", help="Send the owner's state of what differs through the bus.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --heal: say what it would do to each record.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --heal: also where more differs than the flow's heal_limit.")
    ] = False,
    every: Annotated[bool, typer.Option("--all", help="Look at every record, whatever requests_a_day allows.")] = False,
    stored: Annotated[bool, typer.Option("--stored", help="Show what was found before; compare nothing.")] = False,
    wait: Annotated[float, typer.Option("--wait", min=1, help="Seconds that a change in flight may take.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the differences to this file.")] = None,
    who: Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who heals; else who is logged in.")] = "",
) -> None:
    """Compare a flow's target with its owner, through the flow's mapping, while both change.

    Each record that differs is named, with both values and the reason if it is known. Exit code 0: they agree, 1: they
    differ, or healing needs --yes, 3: a system can't be reached.

    Examples: sorbus reconcile customer-to-reporting; sorbus reconcile order-to-reporting --heal --dry-run
    """
    from sorbus.errors import ExitCode, UsageError
    from sorbus.ops.reconcile.by_delivery import reconciliation
    from sorbus.ops.reconcile.run import ReconcileRequest
    from sorbus.ops.reconcile.store import ReconcileStore
    from sorbus.settings import Settings
    from sorbus.state.database import State
    from sorbus.telemetry.logs import configure_logs

    configure_logs(f"reconcile {flow}", level="WARNING")
    if dry_run and not heal:
        raise UsageError("--dry-run says what --heal would do: sorbus reconcile FLOW --heal --dry-run")
    loaded = Context.of(ctx).load_sound()
    store = ReconcileStore(State.of(loaded.map.topic_prefix))
    if stored:
        loaded.flow(flow)
        found = store.differences(flow, most=1_000_000)
        _print_stored(found, as_json=as_json)
        raise typer.Exit(ExitCode.FINDINGS if found else 0)
    with progress_bar() as progress:
        request = ReconcileRequest(flow, only_changed=changed, ignores_budget=every, wait=wait)
        run = reconciliation(loaded, request, Settings(), progress)
        report = run.run()
    differences = store.differences(flow, most=1_000_000)
    if csv_file is not None:
        _write_csv(csv_file, differences)
    healed = _heal(run, report, differences, dry_run=dry_run, yes=yes, who=who or login_name()) if heal else None
    if as_json:
        typer.echo(json.dumps(_as_json(report, differences, healed), ensure_ascii=False))
    else:
        _print(run, report, differences)
        if healed is not None:
            _print_heal(run, healed, report.would, dry_run=dry_run, yes=yes)
    raise typer.Exit(ExitCode.FINDINGS if report.total or report.undecided or differences else 0)


def _heal(
    run: Comparison,
    report: ReconcileReport,
    differences: list[StoredDifference],
    *,
    dry_run: bool,
    yes: bool,
    who: str,
) -> HealPlan:
    from sorbus.ops.reconcile.heal import heal, plan_heal, records_of
    from sorbus.settings import Settings
    from sorbus.state.database import State

    plan = plan_heal(run.flow, differences, records_of(report), report.total)
    if plan.records and not dry_run and (yes or not plan.needs_consent):
        heal(plan, run.flow, run.owner.name, Settings(), State.of(run.flow.system.topic_prefix), who)
    return plan


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Shows what a comparison is doing, on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bars:
        bar = bars.add_task("connecting", total=None)
        yield lambda doing, done, total: bars.update(bar, description=doing, completed=done, total=total)


def _print(run: Comparison, report: ReconcileReport, differences: list[StoredDifference]) -> None:
    owner, target = run.owner.name, run.flow.system.name
    sides = ""
    if report.owner_records is not None and report.target_records is not None:
        sides = f"{report.owner_records:,} records in {owner}, {report.target_records:,} in {target}; "
    typer.echo(f"{report.flow}: {sides}{report.compared:,} compared, {_outcome(report)}")
    if report.in_flight:
        typer.echo(f"{report.in_flight:,} changes were on their way, and have arrived")
    if report.undecided:
        typer.echo(
            f"{report.undecided:,} records change faster than they can be compared: run it again when it is quieter"
        )
    if report.coverage is not None:
        typer.echo(report.coverage.sentence)
    for sentence in report.from_topic:
        typer.echo(f"compared with what the topic holds: {sentence}")
    for sentence in report.not_compared:
        typer.echo(f"not compared: {sentence}")
    for one in differences[:_SHOWN]:
        typer.echo(_in_words(one))
    if len(differences) > _SHOWN:
        typer.echo(f"... and {len(differences) - _SHOWN:,} more: --csv FILE, or --json")
    if report.total > len(report.differences):
        typer.echo(f"{report.total - len(report.differences):,} more differ and are only counted")


def _outcome(report: ReconcileReport) -> str:
    if not report.total:
        return "they agree" if report.is_whole else "no difference found"
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(report.counts.items()))


def _in_words(one: StoredDifference) -> str:
    from sorbus.ops.reconcile.reasons import shown

    fields = f": {shown(one.fields)}" if one.fields else ""
    why = f"\n    {escaped(one.why)}" if one.why else ""
    return f"  {one.kind:<9} {escaped(one.id)}{fields}{why}"


def _print_heal(run: Comparison, plan: HealPlan, would: Mapping[str, str], *, dry_run: bool, yes: bool) -> None:
    from sorbus.ops.reconcile.heal import in_words

    owner, target = run.owner.name, run.flow.system.name
    for one, why in plan.left[:_SHOWN]:
        typer.echo(escaped(f"  {one.id} stays: {why}"))
    if dry_run:
        for one in plan.records:
            typer.echo(escaped(f"  {one.id}: would {in_words(one, owner, target, would.get(one.id, ''))}"))
    elif plan.needs_consent and not yes:
        typer.echo(
            f"Healing would change {len(plan.records) + plan.unkept:,} records, {plan.share:.1%} of the flow's; its"
            f" heal_limit is {plan.limit:.1%}. Look at them first (--heal --dry-run); then --heal --yes"
        )
    elif plan.records:
        typer.echo(
            f"{len(plan.records):,} records are sent through the bus again; sorbus reconcile {plan.flow} proves it"
        )
    if plan.unkept:
        typer.echo(
            f"{plan.unkept:,} more differ than are kept one by one, and are left: heal these, then heal again; if most"
            f" of the flow differs, sorbus replay {plan.flow}"
        )


def _print_stored(found: list[StoredDifference], *, as_json: bool) -> None:
    for one in found:
        typer.echo(json.dumps(_one_json(one), ensure_ascii=False) if as_json else _in_words(one))
    if not found and not as_json:
        typer.echo("No difference is open.")


def _write_csv(file: Path, differences: Iterable[StoredDifference]) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["flow", "id", "kind", "field", "owner", "target", "why", "cause", "first_seen", "last_seen"])
        for one in differences:
            about = [one.why, one.cause, one.first_seen.isoformat(), one.last_seen.isoformat()]
            for field in one.fields or ((None, None, None),):
                writer.writerow([one.flow, one.id, one.kind, *field, *about])


def _as_json(report: ReconcileReport, differences: list[StoredDifference], plan: HealPlan | None) -> dict[str, object]:
    from sorbus.ops.reconcile.store import coverage_json

    found: dict[str, object] = {
        "flow": report.flow,
        "method": report.method,
        "started_at": report.started_at.isoformat(),
        "finished_at": report.finished_at.isoformat() if report.finished_at else None,
        "owner_records": report.owner_records,
        "target_records": report.target_records,
        "compared": report.compared,
        "rows_fetched": report.rows_fetched,
        "bytes_scanned": report.bytes_scanned,
        "in_flight": report.in_flight,
        "undecided": report.undecided,
        "not_compared": report.not_compared,
        "from_topic": report.from_topic,
        "coverage": None if report.coverage is None else coverage_json(report.coverage),
        "counts": report.counts,
        "differences": [_one_json(one) for one in differences],
    }
    if plan is not None:
        found["heal"] = {
            "records": [one.id for one in plan.records],
            "would": {one.id: report.would[one.id] for one in plan.records if one.id in report.would},
            "left": [{"id": one.id, "why": why} for one, why in plan.left],
            "share": plan.share,
            "unkept": plan.unkept,
            "needs_consent": plan.needs_consent,
        }
    return found


def _one_json(one: StoredDifference) -> dict[str, object]:
    return {
        "flow": one.flow,
        "id": one.id,
        "kind": one.kind,
        "fields": [field._asdict() for field in one.fields],
        "cause": one.cause,
        "why": one.why,
        "first_seen": one.first_seen.isoformat(),
        "last_seen": one.last_seen.isoformat(),
        "healed_at": one.healed_at.isoformat() if one.healed_at else None,
    }
