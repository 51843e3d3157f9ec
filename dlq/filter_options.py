"""How letters are chosen on the command line, and who it is that deals with them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from sorbus.cli.context import Context
from sorbus.cli.login import login_name

if TYPE_CHECKING:
    from sorbus.dlq.service import DeadLetterService, Progress
    from sorbus.dlq.store import LetterFilter
    from sorbus.map.loaded import LoadedMap

FlowOption = Annotated[str, typer.Option("--flow", help="Only this flow.")]
TypeOption = Annotated[str, typer.Option("--data-type", "--type", help="Only this data type.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Only those with this reason.")]
CauseOption = Annotated[str, typer.Option("--cause", help="Only those of one cause, as `sorbus dlq groups` shows it.")]
FieldOption = Annotated[str, typer.Option("--field", help="Only those that failed at this field.")]
RecordOption = Annotated[str, typer.Option("--record", metavar="ID", help="Only those of this record.")]
AssignedOption = Annotated[
    str, typer.Option("--assigned-to", metavar="WHO", help="Only those assigned to this person.")
]
StateOption = Annotated[
    str,
    typer.Option("--state", help="unsettled (not closed), open, requeueing, requeued, landed, superseded, ... or all."),
]
LettersArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[LETTER]...", help="Dead letter ids; - reads them from standard input.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")]
WhoOption = Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who does it; default: the logged-in user.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
AllOption = Annotated[bool, typer.Option("--all", help="All open dead letters that match the options.")]


def service_of(ctx: typer.Context) -> DeadLetterService:
    """The map's letters. SorbusError where no state is named."""
    from sorbus.dlq.service import DeadLetterService
    from sorbus.drift.watch import has_state
    from sorbus.errors import SorbusError
    from sorbus.settings import Settings
    from sorbus.state.database import State

    loaded = Context.of(ctx).load()
    settings = Settings()
    if not has_state(settings):
        raise SorbusError(
            "dead letters are read by an index in Sorbus's own database, and SORBUS_DATABASE doesn't say where that is:"
            " set it, then run `sorbus apply`"
        )
    return DeadLetterService(loaded, settings, State.of(loaded.map.topic_prefix))


def filter_of(
    loaded: LoadedMap,
    *,
    flow: str = "",
    data_type: str = "",
    reason: str = "",
    cause: str = "",
    field: str = "",
    record: str = "",
    assigned_to: str = "",
    state: str = "unsettled",
) -> LetterFilter:
    """The filter that the options make. SorbusError names what the map has instead."""
    from sorbus.dlq.store import STATES, LetterFilter
    from sorbus.errors import UsageError

    if data_type and data_type not in loaded.map.data_types:
        raise UsageError(f"the map has no data type {data_type!r}: {', '.join(loaded.map.data_types)}")
    if flow and flow not in {each.id for each in loaded.map.flows}:
        raise UsageError(f"the map has no flow {flow!r}: {', '.join(each.id for each in loaded.map.flows)}")
    if state not in STATES:
        raise typer.BadParameter(f"{state!r} is not a valid state: {', '.join(STATES)}")
    return LetterFilter(
        flow=flow,
        data_type=data_type,
        reason=reason,
        cause=cause,
        field=field,
        record=record,
        assigned_to=assigned_to,
        state=state,  # type: ignore[arg-type]  # checked above
    )


def require_cause(service: DeadLetterService, cause: str) -> None:
    """UsageError where no letter, closed or not, has this cause: one that was mistyped would seem to have none left."""
    from sorbus.dlq.store import LetterFilter
    from sorbus.errors import UsageError

    if cause:
        service.index.catch_up()
        if not service.letters.count(LetterFilter(cause=cause, state="all")):
            raise UsageError(f"no dead letter has the cause {cause!r}: sorbus dlq groups shows those there are")


def chosen(letters: list[str] | None, filter: LetterFilter, *, everything: bool) -> LetterFilter | Sequence[str]:
    """The letters named, or all that the filter leaves; a filter that leaves all must be meant."""
    from sorbus.dlq.store import LetterFilter

    if letters:
        ids = [id for each in letters for id in (sys.stdin.read().split() if each == "-" else [each])]
        if filter != LetterFilter():
            raise typer.BadParameter("name letters, or choose them by options, not both")
        return ids
    if filter == LetterFilter() and not everything:
        raise typer.BadParameter("name letters, or choose them with --cause, --flow, --reason ... or --all")
    return filter


def person(who: str) -> str:
    """Who does it."""
    return who or login_name()


@contextmanager
def progress(doing: str, total: int) -> Iterator[Progress]:
    """A bar on a terminal, on standard error; told how many more are done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=total or None)
        yield lambda count: bar.advance(task, count)
