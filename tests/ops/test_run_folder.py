"""The folder of `sorbus up`: one supervisor's at a time, and a disk that is full stops nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sorbus.errors import UsageError
from sorbus.ops.runtime.child import ChildProcess, ChildProgram
from sorbus.ops.runtime.run_folder import RunFolder


def test_a_second_supervisor_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run")
    first.claim()
    with pytest.raises(UsageError, match=r"another `sorbus up` runs with the folder .*run: stop that one first"):
        second.claim()
    first.release()
    second.claim()
    second.release()


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file/run can't be written to: Not a directory; give a --folder that can be"):
        RunFolder(tmp_path / "file" / "run").claim()


def test_files_that_can_not_be_written_are_reported_once_and_written_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, children = RunFolder(tmp_path), [ChildProcess(ChildProgram("watch", ("watch",)))]
    folder.claim()
    with monkeypatch.context() as full:
        full.setattr(Path, "write_text", _no_space)
        folder.write(children)
        folder.write(children)
    assert folder.is_behind
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path} can't be written to: No space left on device; its files are out of date"
    ]
    folder.write(children)
    assert not folder.is_behind
    assert [item["name"] for item in json.loads((tmp_path / "processes.json").read_text())] == ["watch"]
    folder.release()


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")
