"""Untidy files are read right, or refused in words that a bookkeeper understands."""

from __future__ import annotations

from pathlib import Path

import pytest

from sorbus.conformance.sample_type import NAME, SCHEMA, decode, rows
from sorbus.connector import BoundSource, BoundSystem, Change
from sorbus.errors import TransientError
from sorbus.mapfile.model import DataType, System
from sorbus.producers.spreadsheet.options import SpreadsheetSource
from sorbus.producers.spreadsheet.scan import scan_sheets
from sorbus.spreadsheet.files import SpreadsheetConnection
from tests.spreadsheet.untidy import CASES, Untidy

COLUMNS = {"name": "Name", "note": "Note", "amount": "Amount", "count": "Count", "made_on": "Date"}


def read(folder: Path, case: Untidy) -> tuple[dict[str, dict[str, object]], dict[str, str]]:
    """Records and dead letters by id."""
    names = case.fields or list({name: 0 for record in case.records.values() for name in record}) or ["name"]
    by_two = {"name": "Item Name", "note": "Sum Note", "amount": "Sum Amount"}
    columns = by_two if case.options.get("header_rows") == 2 else COLUMNS
    options = SpreadsheetSource.model_validate({"file": case.file, "key": ["No"], "settle": 0, **case.options})
    resource = options.resource
    mapping = [(name, f"{resource}.{columns[name]}", "") for name in names]
    if "name" not in names:
        mapping.append(("name", "", '"-"'))
    source = BoundSource(NAME, DataType(system_of_record="books"), SCHEMA, rows("books", mapping, into=False), options)
    system = BoundSystem("books", System(kind="spreadsheet"), SpreadsheetConnection(path=Path()), "", folder)
    records, letters = {}, {}
    for batch in scan_sheets(system, source):
        for one in batch:
            if isinstance(one, Change):
                assert one.data is not None
                records[one.id.decode()] = decode(one.data)
            else:
                letters[one.id.decode()] = str(one.error)
    return records, letters


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_untidy_file_is_read_right_or_refused_in_words(case: Untidy, tmp_path: Path) -> None:
    case.write(tmp_path / case.file)
    if case.refused:
        with pytest.raises(TransientError) as refused:
            read(tmp_path, case)
        assert all(word in str(refused.value) for word in case.refused), str(refused.value)
        return
    records, letters = read(tmp_path, case)
    found = {
        id: {name: records[id].get(name) for name in wanted} for id, wanted in case.records.items() if id in records
    }
    assert found == case.records, (records, letters)
    assert records.keys() == case.records.keys(), letters
    told = {next((id for id in letters if id.startswith(key)), ""): words for key, words in case.letters.items()}
    assert letters.keys() == told.keys()
    for id, words in told.items():
        assert all(word in letters[id] for word in words), letters[id]
