"""The `sorbus` command: global options, every installed subcommand, and errors as a message with an exit code."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from copy import copy
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

import sorbus
from sorbus.cli.context import Context
from sorbus.control_characters import escaped
from sorbus.errors import ExitCode, MapError, SorbusError

BROKEN_PIPE = 128 + 13
"""What a shell reports for a program ended by SIGPIPE: the reader has closed, which is not an error."""


_PANELS = {
    "Write down what you have": ("init", "discover", "map", "api", "schemas"),
    "Run it": ("plan", "apply", "up", "produce", "consume", "webhooks", "webhook", "replay"),
    "See how it goes": ("doctor", "status", "watch", "console", "trace", "preview", "alerts", "digest"),
    "Fix and decide": (
        "dlq",
        "duplicates",
        "conflicts",
        "waiting",
        "two-way",
        "drift",
        "checklists",
        "crosswalk",
        "forget",
    ),
    "Try it here": ("demo", "stack"),
}
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names}
# Entries whose commands are not named after them.
_ENTRY_OF = {"plan": "run", "apply": "run", "up": "run", "status": "watch"} | dict.fromkeys(
    ("pause", "resume", "sync"), "flow_control"
)
_PLACE = {name: place for place, name in enumerate(_PANEL_OF)}


class _Frame(TyperGroup):
    """The root group: prints a SorbusError as a message on stderr and exits with its code."""

    def list_commands(self, ctx):  # type: ignore[no-untyped-def]
        """In the order in which users need them; other packages' commands last."""
        return sorted(super().list_commands(ctx), key=lambda name: (_PLACE.get(name, len(_PLACE)), name))

    def invoke(self, ctx):  # type: ignore[no-untyped-def]  # typer keeps its click, and so this type, private
        try:
            return super().invoke(ctx)
        except SorbusError as error:
            context = ctx.find_object(Context)
            if context is not None and context.verbose:
                typer.echo(_traceback(error), err=True)
            else:
                typer.echo(_message(error), err=True)
            raise typer.Exit(error.exit_code) from error
        except BrokenPipeError as error:
            _drop_stdout()
            raise typer.Exit(BROKEN_PIPE) from error
        except ValueError as error:
            if not (wrong := _wrong_settings(error)):
                raise
            typer.echo("\n".join(wrong), err=True)
            raise typer.Exit(ExitCode.WRONG_USE) from error
        except Exception as error:
            # On a terminal typer prints the traceback; in a log it belongs in one record.
            if sys.stderr.isatty() or not logging.getLogger().handlers or _is_clicks(error):
                raise
            logging.getLogger(__name__).critical("ended by an unexpected error; please report it", exc_info=error)
            raise typer.Exit(ExitCode.FINDINGS) from error


def _wrong_settings(error: ValueError) -> list[str]:
    """Which SORBUS_ variable is wrong and why, if that is the error; never its value, which may be a password."""
    from pydantic import ValidationError
    from pydantic_settings import SettingsError

    if isinstance(error, SettingsError):
        return [f"sorbus: the SORBUS_ variables can't be read: {error}"]
    if not isinstance(error, ValidationError) or error.title != "Settings":
        return []
    wrong = []
    for found in error.errors(include_url=False, include_input=False):
        name, why = "_".join(map(str, found["loc"])).upper(), found["msg"].removeprefix("Value error, ")
        wrong.append(f"sorbus: SORBUS_{name} can't be used: {why}")
    return wrong


def _is_clicks(error: Exception) -> bool:
    """Whether it is click's own, for click to handle: a wrong option, an exit, an abort."""
    return type(error).__module__.partition(".")[0] in ("click", "typer")


def _traceback(error: SorbusError) -> str:
    """With its causes, whose words are servers' and libraries': without secrets, and rows that they quote."""
    import traceback

    from sorbus.privacy.words import without
    from sorbus.telemetry.logs import redact_text

    return redact_text(without("".join(traceback.format_exception(error)).rstrip(), []))


def _message(error: SorbusError) -> str:
    if isinstance(error, MapError) and (count := len(error.findings)):
        return f"{error}\nsorbus: {count} problem{'s' * (count != 1)} found in the map"
    return escaped(f"sorbus: {error}", lines=True)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"sorbus {sorbus.__version__}")
        raise typer.Exit


def _options(
    ctx: typer.Context,
    map_path: Annotated[
        Path, typer.Option("--map", envvar="SORBUS_MAP", metavar="PATH", help="The company's map.")
    ] = Path("map.yaml"),
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Verbose output, with tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors and results.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    ctx.obj = Context(map_path, verbose, quiet)


@cache
def application(command: str = "", *, is_outline: bool = False) -> typer.Typer:
    """The command line: the root with every command under the entry point group `sorbus.commands`.

    `command`: load only the entry that has it, since loading all takes a quarter of a second; all if none has it.
    `is_outline`: commands without their parameters, which is all that the list of commands needs.
    """
    root = typer.Typer(
        name="sorbus",
        cls=_Frame,
        callback=_options,
        no_args_is_help=True,
        help=f"{sorbus.__doc__}\n\nBegin with `sorbus init`, look with `sorbus map draw`, run with `sorbus up`.",
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_show_locals=False,  # locals hold connections, and so secrets
    )
    entries = sorted(entry_points(group="sorbus.commands"))
    for entry in [one for one in entries if one.name == _ENTRY_OF.get(command, command)] or entries:
        _hang(root, entry, is_outline=is_outline)
    _put_under_headings(root)
    return root


def _put_under_headings(root: typer.Typer) -> None:
    """Groups the commands of `--help` by heading."""
    for group in root.registered_groups:
        inner = group.typer_instance
        if inner is not None and not isinstance(inner.info.name, str):  # its commands are added to the root directly
            for command in inner.registered_commands:
                name = command.name or (command.callback.__name__ if command.callback else "")
                command.rich_help_panel = _PANEL_OF.get(name)
        elif inner is not None:
            group.rich_help_panel = _PANEL_OF.get(str(inner.info.name))


def _hang(root: typer.Typer, entry: EntryPoint, *, is_outline: bool) -> None:
    try:
        commands = entry.load()
        root.add_typer(_outline(commands) if is_outline else commands)
    except Exception as error:  # noqa: BLE001  # another package's module may raise anything; the rest must still work
        if "_SORBUS_COMPLETE" not in os.environ:
            typer.echo(
                f"sorbus: the commands of {entry.name!r} ({entry.value}) are missing because they can't be loaded: "
                f"{type(error).__name__}: {error}; fix or reinstall {entry.dist.name if entry.dist else 'it'}",
                err=True,
            )


def _outline(commands: typer.Typer) -> typer.Typer:
    """The same names and summaries; making the parameters of all commands takes a tenth of a second."""
    found = copy(commands)
    found.registered_commands = []
    if isinstance(commands.info.name, str):
        return found
    for command in commands.registered_commands:
        found.registered_commands.append(copy(command))
        if command.callback is not None:
            found.registered_commands[-1].callback = _summary(command.callback)
    return found


def _summary(callback: Callable[..., object]) -> Callable[[], None]:
    def summary() -> None: ...

    summary.__name__, summary.__doc__ = callback.__name__, callback.__doc__
    return summary


def _command_in(words: Sequence[str]) -> str:
    """The first word that is neither a global option nor its value; "" if there is none, and during completion."""
    if "_SORBUS_COMPLETE" in os.environ:
        return ""
    each = iter(words)
    for word in each:
        if word == "--map":
            next(each, None)
        elif not word.startswith("-"):
            return word
    return ""


def main() -> None:
    """Runs the command line of this process."""
    try:
        try:
            command = _command_in(sys.argv[1:])
            is_whole = command or "_SORBUS_COMPLETE" in os.environ
            (application(command) if is_whole else application(is_outline=True))()
        finally:
            sys.stdout.flush()
            # Skips the interpreter's last garbage collections: a third of a second whenever a process stops.
            gc.freeze()
    except BrokenPipeError:
        _drop_stdout()
        sys.exit(BROKEN_PIPE)
    except KeyboardInterrupt:
        sys.exit(130)


def _drop_stdout() -> None:
    """Discards buffered output that has no reader; otherwise Python reports an error while it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
