"""Where a tap's secrets could be seen: in what it says, in files that are left, in what installs it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sorbus.conformance.in_memory_bus import InMemoryBus
from sorbus.producers.singer import tap_environment
from sorbus.producers.singer.secret_values import SecretValues
from tests.producers.singer.told import ToldThings, fault, record, schema, state, until_names

ROOT = Path(__file__).parents[3]
_BODY = "".join(f"MIIEvQIBADANBgkqhkiG9w0BAQEFAASC{number:02d}\n" for number in range(20))
KEY = f"-----BEGIN PRIVATE KEY-----\n{_BODY}-----END PRIVATE KEY-----\n"


def put(source: ToldThings, **settings: object) -> None:
    config = source.connection["config"]
    assert isinstance(config, dict)
    config |= settings


@pytest.mark.parametrize("length", [60, 700, 5000])
@pytest.mark.parametrize("before", [1, 180, 360])
@pytest.mark.parametrize("where", ["errors", "messages"])
def test_a_secret_that_is_cut_off_is_no_less_secret(
    tape: InMemoryBus, source: ToldThings, length: int, before: int, where: str
) -> None:
    token = "eyJ" + "s3cr3tTok" * (length // 9)
    put(source, refresh_token=token)
    if where == "errors":
        source.say(b"#stderr " + b"x" * before + b" Bearer " + token.encode() + b"\n#exit 1")
    else:
        source.say(b'{"type": "STATE", "value": ' + b"x" * before + token[:3000].encode())
        put(source, refresh_token=token[:3000])
    assert "s3cr3tTok" not in fault(tape)


@pytest.mark.parametrize("held", [KEY, KEY.replace("\n", "\\n"), json.dumps({"client": {"private_key": KEY}})])
def test_a_key_of_several_lines_is_hidden_line_by_line(tape: InMemoryBus, source: ToldThings, held: str) -> None:
    put(source, private_key=held)
    source.say(*[b"#stderr " + line.encode() for line in KEY.splitlines()], b"#exit 1")
    assert "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" not in fault(tape)


def test_a_word_is_not_hidden_because_a_setting_is_json() -> None:
    assert SecretValues({"a": '{"port": 5432, "on": true}', "b": "[x"}, {}).masked("port 5432 [x") == "port 5432 [x"


_ONE_RUN = """
import sys
from pathlib import Path
from tests.producers.singer.told import ToldThings
source = ToldThings(Path(sys.argv[1]))
for batch in source.connector.scan(source.system(), source.sources()[0]):
    print("a batch", flush=True)
    sys.stdin.read()
"""


def test_settings_that_a_killed_process_left_are_removed_by_the_next_start(
    tape: InMemoryBus, source: ToldThings, tmp_path: Path
) -> None:
    """As `sorbus discover`, `plan` and `reconcile` leave them. Those of a process that lives stay."""
    source.say(schema(), record(1), b"#sleep 60")
    command = [sys.executable, "-c", _ONE_RUN, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as run:
        assert run.stdout is not None
        run.stdout.readline()
        [left] = (tmp_path / "cache" / "singer" / "run").iterdir()
        source.say(schema(), record(1), state(1))
        list(source.connector.scan(source.system(), source.sources()[0]))
        assert "hunter2-token" in (left / "config.json").read_text()
        run.send_signal(signal.SIGKILL)
        run.wait()
        until_names(tape, **{"1": "a"})
        assert not left.exists()


def test_what_is_run_to_install_a_tap_sees_no_secrets_of_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """pip runs the setup.py of what comes as source."""
    monkeypatch.setenv("ACCOUNTING_DSN", "postgresql://sorbus:hunter2@books/accounting")
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example.com/simple")
    told = tap_environment._run([sys.executable, "-c", "import os; print(dict(os.environ))"])
    assert "hunter2" not in told
    assert "packages.example.com" in told
