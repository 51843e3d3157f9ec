"""Records that can't pass: what they say of people is in no log, metric, list or header; their bytes stay whole."""

from __future__ import annotations

from sorbus.dlq.reader import open_letters
from tests.privacy.people import People, eventually

MARKERS = ("Xanthippe", "Qwertzuiop", "Zzyzx", "Vexillum")
ROWS = """
insert into people values
    ('p1', 'Xanthippe Qwertzuiop', 'zzyzx@example.org', 'k1', '01.02.1990', 'active'),
    ('p2', 'Xanthippe Zzyzx', 'qwertzuiop@example.org', 'k2', 'Vexillum 1990', 'active'),
    ('p3', 'Zzyzx Vexillum', 'vexillum@example.org', 'Qwertzuiop Xanthippe', null, 'active'),
    ('p4', 'Vexillum Qwertzuiop', 'xanthippe@example.org', 'k4', null, 'refused')
"""


def test_no_process_or_list_says_what_a_refused_record_holds(people: People) -> None:
    people.execute("crm", ROWS)
    with people.running() as files:
        eventually(lambda: people.rows("archive", "select 1 from persons where id = 'p4'"), "p4 in the archive")
        eventually(lambda: people.letters() == 3, "three dead letters: a date, a long code, a refused status")
        people.execute("crm", "insert into people values ('p5', 'Doublet', 'zzyzx@example.org', null, null, 'active')")
        eventually(lambda: people.letters() == 4, "a dead letter more: the e-mail address is taken")
        said = {file.name: file.read_text() for file in files}
        said["metrics"] = people.metrics()
        assert "sorbus_" in said["metrics"]
    letters = open_letters(people.settings, people.names, ["person"])
    said |= {f"headers of {letter.id}": f"{letter.message} {letter.words}" for letter in letters}
    commands = [
        ("dlq", "list"),
        ("dlq", "list", "--json"),
        ("preview", "person-to-books", "p1"),
        ("trace", "person", "p1"),
    ]
    commands += [("dlq", "show", letter.id) for letter in letters] + [("dlq", "show", letters[0].id, "--json")]
    for words in commands:
        said[" ".join(words)] = people.sorbus(*words)
    for letter in ("p3", "p4"):
        said[f"preview {letter}"] = people.sorbus("preview", "person-to-books", letter, status=1)
        said[f"trace {letter}"] = people.sorbus("trace", "person", letter, status=1)
    for where, text in said.items():
        found = [marker for marker in MARKERS if marker.casefold() in text.casefold()]
        assert not found, f"{where} says {found}:\n{text[:3000]}"
    assert "dead letter" in said["produce-crm.log"] + said["consume-person-to-books-person-to-archive.log"]
    assert "known_status" in said["dlq list --json"], "what is wrong is still told"

    by_id = {letter.record_id: letter for letter in letters}
    assert b"Vexillum 1990" in (by_id[b"p2"].value or b""), "the letter's bytes are untouched"
    assert b"Qwertzuiop Xanthippe" in (by_id[b"p3"].value or b"")
    shown = people.sorbus("dlq", "show", by_id[b"p3"].id, "--show-personal")
    assert "Qwertzuiop Xanthippe" in shown
    assert '"event": "personal values shown"' in shown
    assert '"who"' in shown
    assert by_id[b"p3"].id in shown
