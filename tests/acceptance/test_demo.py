"""`sorbus demo` as people meet it: it comes up, goes on where it was, and leaves nothing behind, however it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.slow

_SORBUS = str(Path(sys.executable).with_name("sorbus"))
_ARRIVED = "the first record of this run has arrived"


def test_the_demo_comes_up_and_the_next_one_goes_on_where_it_was(tmp_path: Path) -> None:
    first = _demo(tmp_path, "--for", "8")
    assert "made and filled: crm and accounting" in first
    assert "all flows up to date with crm" in first
    deeds = int(re.findall(r"(\d+) changes made", first)[-1])
    second = _demo(tmp_path, "--for", "5")
    assert "all is as the map says" in second
    assert "all flows up to date with crm" in second
    numbers = re.search(r'"deeds": (\d+)', (tmp_path / "demo.json").read_text("utf-8"))
    assert numbers is not None
    assert int(numbers[1]) > deeds
    assert _left_in(tmp_path) == []


def test_the_console_is_where_the_demo_says_and_ctrl_c_stops_everything(tmp_path: Path) -> None:
    with (tmp_path / "said").open("wb") as said:
        demo = subprocess.Popen([_SORBUS, "demo", "--folder", str(tmp_path)], stdout=said, stderr=said)
    _wait(lambda: _ARRIVED in (tmp_path / "said").read_text("utf-8"), demo, 120, "the first record")
    _wait(lambda: "in a browser" in (tmp_path / "said").read_text("utf-8"), demo, 30, "where the console is")
    (url,) = re.findall(r"in a browser: (\S+)", (tmp_path / "said").read_text("utf-8"))
    _wait(lambda: "customer-to-reporting" in _page(url), demo, 60, "the console's first page")
    demo.send_signal(signal.SIGINT)
    assert demo.wait(40) == 0, (tmp_path / "said").read_text("utf-8")
    assert _left_in(tmp_path) == []


def test_a_killed_demo_leaves_no_process_behind_and_can_be_started_again(tmp_path: Path) -> None:
    with (tmp_path / "said").open("wb") as said:
        demo = subprocess.Popen([_SORBUS, "demo", "--folder", str(tmp_path)], stdout=said, stderr=said)
    _wait(lambda: _ARRIVED in (tmp_path / "said").read_text("utf-8"), demo, 120, "the first record")
    demo.kill()
    demo.wait()
    _wait(lambda: not _left_in(tmp_path), None, 40, lambda: f"the end of {_left_in(tmp_path)}")
    assert "all flows up to date with crm" in _demo(tmp_path, "--once")


def test_a_folder_of_another_company_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_text('{"map": "/elsewhere/northwind/map.yaml", "deeds": 3}', "utf-8")
    done = subprocess.run([_SORBUS, "demo", "--folder", str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "name another --folder" in done.stderr


def _demo(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [_SORBUS, "demo", "--folder", str(folder), *options], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{(folder / 'up.log').read_text('utf-8')[-3000:]}"
    return done.stdout


def _page(url: str) -> str:
    try:
        return httpx.get(url).text
    except httpx.TransportError:
        return ""  # it is still starting


def _left_in(folder: Path) -> list[str]:
    """The processes whose working folder or command line is in the demo's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            where = str((process / "cwd").readlink())
        except OSError:
            continue
        if str(folder) in command or where.startswith(str(folder)):
            found.append(f"{process.name}: {command[:100]}")
    return found


def _wait(
    is_so: Callable[[], bool], demo: subprocess.Popen[bytes] | None, seconds: float, missing: str | Callable[[], str]
) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert demo is None or demo.poll() is None, "the demo has ended"
        assert time.monotonic() < end, f"waited {seconds} s for {missing if isinstance(missing, str) else missing()}"
        time.sleep(0.2)
