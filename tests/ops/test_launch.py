"""Forked children: what they run and print, how they end, and what they must not take from their parent."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

PARENT = """
import os, sys, time
from sorbus.ops.runtime import launch
from sorbus.telemetry.stop import Stop
stop = Stop.on_signals()  # its handlers must not run in a child
launch.preload()
began = time.monotonic()
child = launch.fork(["/bin/sorbus", *sys.argv[1:]], {"SORBUS_MAP": "nowhere.yaml"})
assert type(child).__name__ == "_Forked"
said = b""
os.set_blocking(child.output, True)
while piece := os.read(child.output, 65536):
    said += piece
while (code := child.poll()) is None:
    time.sleep(0.01)
child.close()
print(code, said.decode())
"""
WAITING = """
import os, signal, sys, time
from sorbus.ops.runtime import launch
from sorbus.telemetry.stop import Stop
stop = Stop.on_signals()
launch.preload()
import sorbus.cli.app
sorbus.cli.app.main = lambda: time.sleep(60)
child = launch.fork(["/bin/sorbus", "consume", "one"], {})
print(child.pid, flush=True)
end = time.monotonic() + 20
sys.stdin.readline()
child.send_signal(signal.SIGTERM)
while (code := child.poll()) is None and time.monotonic() < end:
    time.sleep(0.01)
child.send_signal(signal.SIGTERM)  # has ended: nothing happens
print(code, stop.is_set())
"""
CHANGED = """
import sys
from pathlib import Path
from sorbus.ops.runtime import launch
launch._LOOK_EVERY = -1
launch.preload()
children = []
for change in (lambda: None, lambda: Path(sys.argv[1], "library-2.dist-info").mkdir()):
    change()
    children.append(launch.fork(["/bin/true"], {}))
    print(type(children[-1]).__name__)
for child in children:
    while child.poll() is None:
        pass
"""
SHARES = """
import gc, os, sys
from pathlib import Path
from sorbus.ops.runtime import launch
launch.preload()
def sizes(pid):
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split()[0]: int(line.split()[1]) for line in lines}
import sorbus.cli.app
def report():
    gc.collect()
    found = sizes(os.getpid())
    print(found["Rss:"], found["Private_Dirty:"] + found["Private_Clean:"])
sorbus.cli.app.main = report
child = launch.fork(["/bin/sorbus", "consume", "one"], {})
os.set_blocking(child.output, True)
print(os.read(child.output, 1000).decode())
while child.poll() is None:
    pass
"""
DEAF = """
import os, signal, sys, time
from sorbus.ops.runtime import launch
launch.preload()
import sorbus.cli.app
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
pids = sys.argv[1]
sorbus.cli.app.main = lambda: [signal.sigwait([signal.SIGUSR1]), print("too late")]
try:
    child = launch.fork(["/bin/sorbus", "consume", "one"], {})
finally:  # what a supervisor does here would be done by its child too
    with open(pids, "a") as file:
        file.write(f"{os.getpid()}\\n")
child.close()
child.send_signal(signal.SIGUSR1)
end = time.monotonic() + 20
while child.poll() is None and time.monotonic() < end:
    time.sleep(0.01)
print(child.poll() is not None)
"""


def run(program: str, *words: str) -> str:
    command, env = [sys.executable, "-c", program, *words], {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True, input="\n")
    assert not done.stderr
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--version",), 0, "sorbus "),
        (("consume", "one"), 1, "nowhere.yaml:1: can't read the file"),
        (("unheard-of",), 2, "No such command"),
    ],
)
def test_a_fork_runs_a_command_with_its_exit_code_and_output(words: tuple[str, ...], code: int, said: str) -> None:
    found = run(PARENT, *words)
    assert found.startswith(f"{code} ")
    assert said in found


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
def test_a_fork_shares_its_parents_memory_even_after_a_garbage_collection() -> None:
    whole, own = map(int, run(SHARES).split())
    assert own < whole / 4, f"{own} kB of {whole} kB are its own"


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
def test_once_code_has_changed_on_disk_no_process_is_forked_from_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with subprocess.Popen(
        [sys.executable, "-c", CHANGED, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        said, told = parent.communicate(timeout=60)
    assert said.split() == ["_Forked", "_Spawned"], told
    assert "has changed on disk" in told


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
def test_a_fork_is_named_has_no_handlers_and_no_files_of_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAITING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        pid = int(parent.stdout.readline())
        process = Path("/proc") / str(pid)
        deadline = time.monotonic() + 20
        while not process.joinpath("cmdline").read_bytes().startswith(b"sorbus consume"):
            assert time.monotonic() < deadline, "the child never took its name"
            time.sleep(0.01)
        assert process.joinpath("cmdline").read_bytes().split(b"\0")[0] == b"sorbus consume one"
        assert {int(file.name) for file in process.joinpath("fd").iterdir()} == {0, 1, 2}
        assert os.getpgid(pid) == pid
        parent.stdin.write("\n")
        parent.stdin.flush()
        assert select.select([parent.stdout], [], [], 20)[0], "the child did not end"
        assert parent.stdout.readline().split() == ["-15", "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")
def test_a_fork_whose_output_nobody_reads_ends_and_never_runs_on_as_its_parent(tmp_path: Path) -> None:
    assert run(DEAF, str(tmp_path / "pids")) == "True\n"
    assert len((tmp_path / "pids").read_text().splitlines()) == 1
