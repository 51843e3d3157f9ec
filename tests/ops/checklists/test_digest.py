"""What the digest says of rounds that nobody counted, and of changes that nobody made."""

from __future__ import annotations

from sorbus.map.contact import contact
from sorbus.ops.checklists.kind import ChecklistDigest
from sorbus.ops.checklists.sheets.changes import OwnerRecord
from sorbus.ops.checklists.standings import ChecklistStandings
from sorbus.ops.checklists.store import Checklists
from sorbus.ops.digest.recipient import Recipients
from sorbus.state import State
from tests.ops.checklists.sheets.person import COLUMNS, company, opened_sync

FLOW = "price-to-price_book"


def told(state: State) -> list[str]:
    found = ChecklistDigest(ChecklistStandings(tuple(Checklists(company(), state).all())))
    recipient = Recipients(company()).of(contact("Field sales <field@example.com>"))
    return [item.words for item in found.items(recipient)]


def test_rounds_without_figures_are_told_once_there_are_three(state: State) -> None:
    checklists = Checklists(company(), state)
    for number in range(3):
        assert not any("without counting" in words for words in told(state)), number
        checklists.finish(FLOW, "ann", "looks right")

    [words] = told(state)
    assert words.startswith(f"{FLOW}: done 3 times since ")
    assert "nobody knows whether price_book is right" in words


def test_what_a_sheet_asked_for_and_nobody_did_is_told(state: State) -> None:
    records = [OwnerRecord(str(n), {"name": "x", "price": None}) for n in range(4)]
    made = opened_sync(state).prepare(records, COLUMNS, "Larkspur", "ann")
    assert made.sheet is not None

    assert told(state) == [f"{FLOW}: sheet {made.sheet.code}: 0 of 4 changes are marked not done, 4 are not answered"]
