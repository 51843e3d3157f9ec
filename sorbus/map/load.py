"""Builds what producers and consumers need from map.yaml and its sheets.

`load_map` rejects what can't be read at all, with every finding; whether the map makes sense is checked by
`sorbus.map.checks`.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from sorbus.errors import Finding, MapError
from sorbus.map.calendar_files import read_calendars
from sorbus.map.files_digest import digest_of_fixed, digest_of_named
from sorbus.map.loaded import LoadedMap
from sorbus.map.route import routed
from sorbus.map.secrets import Secrets
from sorbus.map.sheets.sheet import read_sheets
from sorbus.map.steps import with_steps
from sorbus.mapfile.document import read_document
from sorbus.mapfile.model import Map
from sorbus.mapfile.renamed import as_called_now
from sorbus.mapfile.validation_messages import explain


def load_map(path: Path) -> LoadedMap:
    """Reads a map with its sheets; MapError lists everything that prevents reading it, with file and line."""
    digest = digest_of_fixed(path)  # before reading: what is written meanwhile counts as a change
    document = read_document(path)
    notices = as_called_now(document)
    findings = list(document.findings)
    folder = path.parent
    mappings, wrong = read_sheets(folder / "mappings")
    findings += wrong
    written: Map | None = None
    if document.data is not None or not findings:
        try:
            written = Map.model_validate(document.data if document.data is not None else {})
        except ValidationError as error:
            for found in explain(error, document.data):
                findings.append(Finding(path, document.line(*found.path), found.message, found.fix, found.code))
    if written is not None:
        digest += digest_of_named(folder, written)
        findings += read_calendars(written, document)
    if findings or written is None:
        raise MapError(sorted(findings))
    written, mappings = with_steps(written, document, mappings)
    secrets = Secrets(folder)
    read = LoadedMap(written, path, document, mappings, secrets, mappings, notices=tuple(notices), digest=digest)
    return routed(read).with_two_way()
