"""${NAME} in the map."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from sorbus.map.secrets import Secrets, UnknownSecret


def test_a_name_is_filled_from_the_environment(tmp_path: Path) -> None:
    assert Secrets(tmp_path, {"PW": "a b"}).fill("postgresql://u:${PW}@h") == "postgresql://u:a b@h"


def test_a_name_is_filled_from_the_file_that_name_file_says(tmp_path: Path) -> None:
    (tmp_path / "pw").write_text("hidden\n")

    assert Secrets(tmp_path, {"PW_FILE": str(tmp_path / "pw")}).value("PW") == "hidden"


def test_a_name_is_filled_from_env_beside_the_map_and_the_environment_wins(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("# for development\nPW='from ${FILE}'\nOTHER=x\n")

    assert Secrets(tmp_path, {}).fill("${PW}") == "from ${FILE}"
    assert Secrets(tmp_path, {"PW": "from outside"}).fill("${PW}") == "from outside"


def test_an_unknown_name_says_what_to_set_and_where_it_stands(tmp_path: Path) -> None:
    with pytest.raises(UnknownSecret, match="set the environment variable CRM_PW") as refused:
        Secrets(tmp_path, {}).fill_all({"hosts": [{"password": "${CRM_PW}"}]})

    assert refused.value.path == ("hosts", 0, "password")


def test_a_file_that_is_not_there_is_named_and_no_value_shown(tmp_path: Path) -> None:
    with pytest.raises(UnknownSecret, match="can't be read: No such file"):
        Secrets(tmp_path, {"PW_FILE": "gone"}).value("PW")


def test_two_dollars_stand_for_one(tmp_path: Path) -> None:
    assert Secrets(tmp_path, {}).fill("a$${b} $c") == "a${b} $c"


def test_a_check_leaves_unset_names_as_they_are(tmp_path: Path) -> None:
    assert Secrets(tmp_path, {"A": "1"}).unset().fill_all({"x": ["${A}", "${B}", 3]}) == {"x": ["1", "${B}", 3]}


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_files_of_windows_editors_are_read_without_their_mark(mark: bytes, tmp_path: Path) -> None:
    (tmp_path / "hidden.txt").write_bytes(mark + b"hush\r\n")
    (tmp_path / ".env").write_bytes(mark + b"FIRST=one\r\nOTHER_FILE=hidden.txt\r\n")
    secrets = Secrets(tmp_path, {})
    assert (secrets.value("FIRST"), secrets.value("OTHER")) == ("one", "hush")


@pytest.mark.parametrize("file", [".env", "hidden.txt"])
@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_in_another_encoding_is_named_and_nothing_of_it_told(file: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / file).write_bytes("FIRST=hüsh\n".encode(encoding))
    with pytest.raises(UnknownSecret, match="is not text in UTF-8") as told:
        Secrets(tmp_path, {"OTHER_FILE": "hidden.txt"}).value("OTHER" if file == "hidden.txt" else "FIRST")
    assert told.value.__cause__ is None
    assert file in str(told.value)
