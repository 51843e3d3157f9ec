"""The frame: what every command has in common."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

import sorbus
from sorbus.cli import app as frame
from sorbus.cli.context import Context
from sorbus.errors import AuthError, ExitCode, Finding, MapError, SorbusError, TransientError
from sorbus.settings import Settings

INSTALLED = Path(sys.executable).with_name("sorbus")


def hung(*entries: EntryPoint) -> typer.Typer:
    """The frame with these entry points only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame, "entry_points", lambda group: list(entries))
        return frame.application.__wrapped__()


def entry(command: object, monkeypatch: pytest.MonkeyPatch, name: str = "trial") -> EntryPoint:
    """An entry point of one command, without a package around it."""
    group = typer.Typer()
    group.command(name)(command)  # type: ignore[type-var]
    monkeypatch.setattr(sys.modules[__name__], "group_under_test", group, raising=False)
    return EntryPoint(name, f"{__name__}:group_under_test", "sorbus.commands")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SorbusError("the flow is unknown; name one of a, b"), ExitCode.FINDINGS),
        (TransientError("the target is down; try later"), ExitCode.UNREACHABLE),
        (AuthError("the key is refused; renew it"), ExitCode.REFUSED),
        (MapError([Finding(Path("map.yaml"), 3, "no such kind", "write postgres")]), ExitCode.FINDINGS),
    ],
)
def test_an_error_is_a_message_with_its_exit_code_and_no_traceback(
    error: SorbusError, code: ExitCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise error

    result = CliRunner().invoke(hung(entry(fail, monkeypatch)), ["trial"])
    assert result.exit_code == code
    assert str(error).splitlines()[0] in result.stderr
    assert "Traceback" not in result.stderr


def test_verbose_shows_where_an_error_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise TransientError("the target is down")

    result = CliRunner().invoke(hung(entry(fail, monkeypatch)), ["--verbose", "trial"])
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "Traceback" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        "no host in postgresql://sam:hunter22@db/shop",
        "Key (email)=(hunter22) already exists.",
        "Failing row contains (p1, hunter22).",
        "Authorization: Bearer hunter22hunter22",
        "no contact hunter22@example.org",
    ],
)
def test_verbose_shows_no_secrets_or_rows_of_what_caused_it(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise TransientError("the target is down") from ValueError(words)

    result = CliRunner().invoke(hung(entry(fail, monkeypatch)), ["--verbose", "trial"])
    assert "ValueError" in result.stderr
    assert "hunter22" not in result.stderr


def test_a_wrong_setting_names_its_variable_and_not_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def settle() -> None:
        Settings()

    for value, words in (
        ('{"group.id": "hush"}', "sorbus: SORBUS_KAFKA_CONFIG can't be used: group.id"),
        ('{"hush', 'can\'t be read: error parsing value for field "kafka_config"'),
    ):
        monkeypatch.setenv("SORBUS_KAFKA_CONFIG", value)
        result = CliRunner().invoke(hung(entry(settle, monkeypatch)), ["trial"])
        assert result.exit_code == ExitCode.WRONG_USE
        assert words in result.stderr
        assert "hush" not in result.output


def test_an_interrupt_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def wait() -> None:
        raise KeyboardInterrupt

    assert CliRunner().invoke(hung(entry(wait, monkeypatch)), ["trial"]).exit_code == 130


def test_a_fault_of_ours_shows_where_it_is_but_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hung().pretty_exceptions_show_locals is False, "locals hold connections, and so secrets"


def test_commands_that_cannot_be_loaded_are_named_and_the_others_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def fine() -> None:
        typer.echo("fine")

    broken = EntryPoint("broken", "sorbus.no_such_module:app", "sorbus.commands")
    monkeypatch.setattr(frame, "entry_points", lambda group: [broken, entry(fine, monkeypatch, "works")])
    application = frame.application.__wrapped__()
    result = CliRunner().invoke(application, ["works"])
    assert (result.exit_code, result.stdout) == (0, "fine\n")


def test_a_command_that_cannot_be_loaded_says_so_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hung(EntryPoint("broken", "sorbus.no_such_module:app", "sorbus.commands"))
    said = capsys.readouterr().err
    assert "the commands of 'broken'" in said
    assert "No module named 'sorbus.no_such_module'" in said


def test_the_global_options_reach_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Context] = []

    def look(ctx: typer.Context) -> None:
        seen.append(Context.of(ctx))

    application = hung(entry(look, monkeypatch))
    monkeypatch.setenv("SORBUS_MAP", "elsewhere/map.yaml")
    assert CliRunner().invoke(application, ["-q", "trial"]).exit_code == 0
    assert CliRunner().invoke(application, ["--map", "here.yaml", "-v", "trial"]).exit_code == 0
    assert seen == [Context(Path("elsewhere/map.yaml"), quiet=True), Context(Path("here.yaml"), verbose=True)]


def test_every_command_loads_and_has_a_help_text() -> None:
    result = CliRunner().invoke(frame.application(), ["--help"])
    assert result.exit_code == 0
    for command in ("init", "discover", "map"):
        assert command in result.stdout


def installed(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`sorbus` as people run it."""
    return subprocess.run(
        [INSTALLED, *arguments], capture_output=True, text=True, timeout=60, check=False, env=os.environ | more
    )


def test_the_installed_command_tells_its_version() -> None:
    assert installed("--version").stdout == f"sorbus {sorbus.__version__}\n"


def test_the_installed_command_exits_with_2_when_it_is_used_wrongly() -> None:
    done = installed("map", "chekc")
    assert done.returncode == ExitCode.WRONG_USE
    assert "check" in done.stderr, "the nearest command is offered"


def test_the_installed_command_exits_with_1_and_says_where_when_there_is_no_map(tmp_path: Path) -> None:
    done = installed("--map", str(tmp_path / "map.yaml"), "map", "draw")
    assert done.returncode == ExitCode.FINDINGS
    assert f"{tmp_path / 'map.yaml'}:1: can't read the file" in done.stderr
    assert "sorbus init" in done.stderr


def test_a_reader_that_leaves_is_no_error_worth_a_traceback(company: Path) -> None:
    done = subprocess.run(
        f"'{INSTALLED}' --map '{company}' map doc | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == frame.BROKEN_PIPE


def test_help_does_not_import_what_only_running_needs() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from sorbus.cli.app import application;"
        "CliRunner().invoke(application(), ['--help']);"
        "print([name for name in ('psycopg', 'confluent_kafka', 'fastavro', 'openpyxl', 'pydantic', 'jinja2',"
        " 'ruamel.yaml', 'sorbus.map.load', 'structlog', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n", f"sorbus --help imports {done.stdout.strip()}, and so takes longer than it needs"


def test_shell_completion_is_there() -> None:
    done = installed(_SORBUS_COMPLETE="complete_bash", COMP_WORDS="sorbus map ", COMP_CWORD="2")
    assert set(done.stdout.split()) >= {"check", "draw", "doc", "schema"}


@pytest.mark.parametrize(
    "command",
    [
        ["consume", "nothing"], ["replay", "nothing", "--yes"], ["preview", "nothing", "1"], ["produce", "nothing"],
        ["trace", "nothing", "1"], ["dlq", "list", "--flow", "nothing"], ["dlq", "list", "--data-type", "nothing"],
        ["drift", "list", "nothing"], ["waiting", "nothing"], ["schemas", "show", "nothing"],
    ],
)  # fmt: skip
def test_what_the_map_does_not_have_is_wrong_use(
    company: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORBUS_DATABASE", "postgresql://127.0.0.1:1/nothing")
    ran = CliRunner().invoke(frame.application(), ["--map", str(company), *command])

    assert ran.exit_code == 2, ran.output


@pytest.mark.parametrize("config", ['{"foo.bar": 1}', '{"linger.ms": "soon"}', "{"])
def test_a_kafka_setting_that_cannot_be_used_is_one_line(
    company: Path, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SORBUS_KAFKA_CONFIG", config)
    ran = CliRunner().invoke(frame.application(), ["--map", str(company), "plan"])

    assert ran.exit_code == 2, ran.output
    assert len(ran.output.splitlines()) <= 3


def test_each_command_is_found_in_the_entry_that_is_loaded_for_it() -> None:
    whole = typer.main.get_command(frame.application())
    assert isinstance(whole, TyperGroup)
    for name, command in whole.commands.items():
        alone = typer.main.get_command(frame.application(name))
        assert isinstance(alone, TyperGroup)
        assert alone.commands[name].help == command.help
        assert len(alone.commands) < 4


@pytest.mark.parametrize(
    ("words", "command"),
    [
        ((), ""),
        (("--help",), ""),
        (("status",), "status"),
        (("--map", "produce", "-v", "status", "--map"), "status"),
        (("--map=x.yaml", "-q", "consume", "a-to-b"), "consume"),
        (("--map",), ""),
    ],
)
def test_the_command_is_the_first_word_that_is_no_option(words: tuple[str, ...], command: str) -> None:
    assert frame._command_in(words) == command


STARTING = """
import os, signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts its background jobs
signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as the kernel treats process 1
os.getpid = lambda: 1
from sorbus.cli import start
import sorbus.cli.app
sorbus.cli.app.application = lambda *_, **__: lambda: (print("loading", flush=True), time.sleep(60))
start.main()
"""


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_a_command_is_still_loading_is_not_lost(asked: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTING], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "loading\n"
            process.send_signal(asked)
            assert process.wait(10) == 128 + asked
        finally:
            process.kill()


def test_the_list_of_commands_is_made_without_their_parameters_and_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    whole, outline = (
        CliRunner().invoke(made, ["--help"]) for made in (frame.application(), frame.application(is_outline=True))
    )
    assert outline.exit_code == 0
    assert outline.stdout == whole.stdout
