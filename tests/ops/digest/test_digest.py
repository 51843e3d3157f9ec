"""The daily digest: each owner is told what is theirs, once, and by mail where the map has an address."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from pydantic import SecretStr

from sorbus.drift.store import DriftFinding
from sorbus.errors import SorbusError, TransientError
from sorbus.map.contact import Contact
from sorbus.mapfile.model import Map
from sorbus.ops.checklists.kind import ChecklistDigest
from sorbus.ops.checklists.occurrences import Checklist
from sorbus.ops.checklists.standings import ChecklistStandings
from sorbus.ops.conflicts.counts import ConflictCounts
from sorbus.ops.conflicts.kind import ConflictDigest
from sorbus.ops.dead_letters.digest import LetterCause, LetterDigest
from sorbus.ops.digest.collect import Facts
from sorbus.ops.digest.delivery import LATEST, DailyDelivery, DigestDelivery
from sorbus.ops.digest.items import Digest
from sorbus.ops.digest.mail import Outbox, outbox
from sorbus.ops.digest.render import as_html, as_text
from sorbus.ops.digest.writer import DigestWriter
from sorbus.ops.drift.kind import DriftDigest
from sorbus.ops.duplicates.counts import DuplicateCounts
from sorbus.ops.duplicates.kind import DuplicateDigest
from sorbus.ops.embedded import Addresses
from sorbus.ops.monitoring.escalation import Escalation
from sorbus.ops.monitoring.flow_state import FlowState
from sorbus.ops.monitoring.measure import Measurement
from sorbus.ops.monitoring.problems import Problem
from sorbus.ops.waiting.kind import WaitingDigest
from sorbus.settings import Settings
from sorbus.state.database import State, migrate
from sorbus.waiting.store import Missing
from tests.consumers.line import RESTRICTED, Line, eventually, named
from tests.consumers.plugin import line, make_line
from tests.ops.conftest import Sorbus
from tests.ops.postbox import Postbox, served, text_of

__all__ = ["line", "make_line"]

NOW = datetime(2026, 3, 11, 8, tzinfo=UTC)
DAY = timedelta(days=1)
FINANCE = Contact("Finance", "finance@example.com")
SALES = Contact("Sales", "sales@example.com")
CONSOLE = "https://sorbus.example.com"
COMPANY = Map.model_validate(
    {
        "company": "Brightwater",
        "systems": {
            "crm": {"kind": "postgres", "owner": str(SALES)},
            "books": {"kind": "http", "owner": str(FINANCE)},
            "price_book": {"kind": "spreadsheet", "owner": "Field sales"},
        },
        "data_types": {"order": {"system_of_record": "crm"}, "price": {"system_of_record": "books"}},
        "flows": [
            {"data_type": "order", "to": "books", "escalate_to": "Ann Lee <ann@example.com>"},
            {
                "data_type": "price",
                "to": "price_book",
                "manual": {
                    "checklist": ["Paste."],
                    "schedule": "daily",
                    "responsible": str(SALES),
                    "verification": "ten are equal",
                },
            },
        ],
    }
)
FLOW = FlowState("order-to-books", "order", "books", "running", 1, 7, 40, 7300.0, None, 12, 990.0, 0.0)
OVERDUE = Checklist(
    "price-to-price_book", "price", "price_book", SALES, "daily", "", (), NOW, NOW, NOW - timedelta(hours=8), ()
)
DRIFT = DriftFinding(
    1,
    "crm",
    "order",
    "orders",
    "total",
    "missing",
    "numeric",
    "",
    "held",
    "",
    "",
    "",
    5,
    NOW,
    NOW,
    "open",
    None,
    None,
    None,
)
LETTERS = LetterDigest(
    (
        LetterCause("order", "order-to-books", "books", "StringDataRightTruncation", "name", 12, 4, 7, NOW - 3 * DAY),
        LetterCause("price", "", "books", "value", "amount", 0, 0, 2, None),
    ),
    NOW,
)
DUPLICATES = DuplicateCounts({"order-to-books": 3})
CONFLICTS = ConflictCounts({("order-to-books", "open"): 2, ("order-to-books", "overwritten"): 0})
CHECKLISTS = ChecklistStandings((OVERDUE,))
FACTS = Facts(
    NOW - DAY,
    NOW,
    Measurement(
        NOW.timestamp(),
        (FLOW,),
        (),
        {},
        {},
        escalations=(
            Escalation(
                "order-to-books", "order", "books", "late", 40, 7300.0, 3600.0, Contact("Ann Lee", "ann@example.com")
            ),
        ),
        decisions=(DUPLICATES, CONFLICTS, CHECKLISTS),
    ),
    (
        LETTERS,
        DuplicateDigest(DUPLICATES),
        ConflictDigest(CONFLICTS),
        WaitingDigest(COMPANY, (Missing("order-to-books", "vat_number", 5, NOW - 2 * DAY),)),
        DriftDigest((DRIFT,)),
        ChecklistDigest(CHECKLISTS),
    ),
)
NOTHING = Facts(NOW - DAY, NOW, Measurement(NOW.timestamp(), (), (), {}, {}))


def told(digest: Digest) -> dict[str, list[str]]:
    return {section.title: [item.words for item in section.items] for section in digest.sections}


def test_an_owner_is_told_what_is_theirs() -> None:
    found = told(DigestWriter(COMPANY).digest(FACTS, FINANCE))

    assert found["Dead letters"] == [
        "order to books: too long (name): 12 open (4 of them new), 7 closed, oldest 3 d ago",
        "price from books: not a valid value (amount): none open, 2 closed",
    ]
    assert found["Incomplete records"][0].startswith(
        "5 order records lack vat_number, which books needs; add it in crm."
    )
    assert found["Possible duplicates"] == ["order-to-books: 3 records may exist already, and need a decision"]
    assert found["Conflicts"] == ["order-to-books: 2 fields with two values, need a decision"]
    assert found["Flows that are behind"] == ["order-to-books: 2 h late; 40 changes wait"]
    assert "Changed sources" not in found
    assert "Manual checklists" not in found


def test_who_owns_the_data_is_told_of_it_elsewhere_too() -> None:
    found = told(DigestWriter(COMPANY).digest(FACTS, SALES))

    assert [words.partition(":")[0] for words in found["Dead letters"]] == ["order to books"]
    assert list(found) == ["Dead letters", "Incomplete records", "Changed sources", "Manual checklists"]
    assert found["Changed sources"][0].endswith("; records are on hold")
    assert found["Manual checklists"][0].startswith("price-to-price_book: overdue since 2026-03-11")


def test_who_is_called_is_told_first_and_whoever_runs_sorbus_of_everything() -> None:
    writer = DigestWriter(COMPANY)
    everything = writer.digest(FACTS)

    assert list(told(writer.digest(FACTS, Contact("Ann Lee", "ann@example.com")))) == ["Escalated to you"]
    assert list(told(everything))[:2] == ["Escalations", "Dead letters"]
    assert (everything.systems, everything.grave) == (("crm", "books", "price_book"), 8)


def test_what_no_lag_shows_is_told_to_whom_it_concerns() -> None:
    """Of a producer that has stopped nothing waits, and events that are gone don't either."""
    seen = Measurement(
        NOW.timestamp(),
        (FLOW,),
        (),
        {},
        {},
        problems=(
            Problem("producer", "crm", "stopped", None, "its password is wrong"),
            Problem("consumer", "order-to-books", "waiting", None, "no column x"),
            Problem("dependency", "state", "not readable", None, "permission denied"),
        ),
        lost=("order: topic order isn't there", "order-to-books: 3 messages were removed"),
        notes={("order-to-books", "stale"): "newer versions", ("order-to-books", "joining"): "joins"},
    )
    writer, facts = DigestWriter(COMPANY), Facts(NOW - DAY, NOW, seen)
    of_crm = ["crm: its producer is stopped, because its password is wrong", "order: topic order isn't there"]
    of_books = ["order-to-books: waiting, because no column x", "order-to-books: 3 messages were removed"]
    title, newer = "What doesn't work", "order-to-books: newer versions"
    assert told(writer.digest(facts, SALES))[title] == of_crm
    assert told(writer.digest(facts, FINANCE))[title] == [*of_books, newer]
    everything = told(writer.digest(facts))[title]
    assert "the state database (SORBUS_DATABASE): not readable, because permission denied" in everything
    assert set(everything) > {*of_crm, *of_books, newer}


def test_everybody_in_the_map_is_known_once() -> None:
    contacts = DigestWriter(COMPANY).recipients.contacts()
    assert [each.name for each in contacts] == ["Sales", "Finance", "Field sales", "Ann Lee"]


def test_text_and_page_link_to_the_console_and_say_nothing_twice() -> None:
    digest = DigestWriter(COMPANY).digest(FACTS, FINANCE)
    text, page = (write(digest, "Brightwater", CONSOLE + "/") for write in (as_text, as_html))

    assert text.startswith("Finance: books, Wednesday 2026-03-11: 5 items need attention\n")
    assert f"    {CONSOLE}/letters?flow=order-to-books&reason=StringDataRightTruncation\n" in text
    assert f'<a href="{CONSOLE}/letters?flow=order-to-books&amp;reason=StringDataRightTruncation">Open</a>' in page
    assert "http" not in as_text(digest, "Brightwater", "")


def test_what_a_source_says_is_text_in_the_page() -> None:
    drift = replace(DRIFT, system="books", field="<script>alert(1)</script>")
    digest = DigestWriter(COMPANY).digest(replace(FACTS, parts=(DriftDigest((drift,)),)), FINANCE)

    assert "<script" not in as_html(digest, "Brightwater", CONSOLE)
    assert "&lt;script&gt;" in as_html(digest, "Brightwater", CONSOLE)


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    box = Postbox()
    with served(box):
        yield box


@pytest.fixture
def settings(postbox: Postbox, stack: Addresses) -> Settings:
    return Settings(
        kafka=stack.kafka,
        mail_server=f"127.0.0.1:{postbox.port}",
        mail_from="sorbus@example.com",
        mail_tls="off",
        console_url=CONSOLE,
    )


def test_everybody_with_an_address_gets_their_mail(state: State, settings: Settings, postbox: Postbox) -> None:
    sent = DigestDelivery(COMPANY, settings, state, ["ops@example.com"]).send(FACTS)

    assert {one.address: one.why for one in sent} == dict.fromkeys(
        ["sales@example.com", "finance@example.com", "ann@example.com", "ops@example.com"], ""
    )
    [mail] = postbox.to("finance@example.com")
    assert mail["subject"] == "Sorbus, Brightwater: 5 items need attention"
    assert mail["to"] == "Finance <finance@example.com>"
    assert "12 open (4 of them new), 7 closed" in text_of(mail)
    assert "<h2" in text_of(mail, "html")


def test_who_has_nothing_to_be_told_is_not_written_to(state: State, settings: Settings, postbox: Postbox) -> None:
    assert {one.why for one in DigestDelivery(COMPANY, settings, state).send(NOTHING)} == {"nothing to report"}
    assert postbox.mail == []


def test_many_processes_send_a_days_digest_once(state: State, settings: Settings, postbox: Postbox) -> None:
    threads = [
        threading.Thread(target=DigestDelivery(COMPANY, settings, state).send, args=(FACTS, NOW)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(str(each["X-Envelope-To"]) for each in postbox.mail) == [
        "ann@example.com",
        "finance@example.com",
        "sales@example.com",
    ]


def test_a_digest_whose_process_was_killed_before_it_went_is_sent(
    state: State, settings: Settings, postbox: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> NoReturn:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "send", killed)
        with pytest.raises(SystemExit):
            DigestDelivery(COMPANY, settings, state).send(FACTS, NOW)
    assert {one.why for one in DigestDelivery(COMPANY, settings, state).send(FACTS, NOW)} == {""}
    assert {one.why for one in DigestDelivery(COMPANY, settings, state).send(FACTS, NOW)} == {"already sent"}
    assert len(postbox.to("finance@example.com")) == 1


def test_an_address_that_is_refused_is_said_and_may_be_tried_again(
    state: State, settings: Settings, postbox: Postbox
) -> None:
    post = DigestDelivery(COMPANY, settings, state)
    postbox.refuses = True
    refused = post.send(FACTS, NOW)
    postbox.refuses = False
    again = post.send(FACTS, NOW)

    assert all("550 nobody of that name lives here; correct the address in the map" in one.why for one in refused)
    assert [one.why for one in again] == ["", "", ""]


def test_the_daily_digest_goes_out_at_its_time_and_once(state: State, settings: Settings, postbox: Postbox) -> None:
    now = NOW - timedelta(minutes=1)
    daily = DailyDelivery(DigestDelivery(COMPANY, settings, state), "08:00", clock=lambda: now)
    behind = replace(FACTS.measured)

    daily.after(behind)
    assert postbox.mail == [], "its time has not come, and yesterday's is too long ago"
    now = NOW + timedelta(minutes=1)
    daily.after(behind)
    daily.after(behind)
    assert len(postbox.to("finance@example.com")) == 1
    now = NOW + DAY + LATEST - timedelta(minutes=1)
    DailyDelivery(DigestDelivery(COMPANY, settings, state), "08:00", clock=lambda: now).after(behind)
    assert len(postbox.to("finance@example.com")) == 2, "a watch that was away sends it late"
    now = NOW + 2 * DAY + LATEST + timedelta(minutes=1)
    daily.after(behind)
    assert len(postbox.to("finance@example.com")) == 2, "but not when the day is half over"


def test_a_mail_server_that_is_away_is_tried_again(state: State, settings: Settings, postbox: Postbox) -> None:
    away = settings.model_copy(update={"mail_server": "127.0.0.1:1"})
    with pytest.raises(TransientError, match=r"the mail server 127\.0\.0\.1:1: "):
        DigestDelivery(COMPANY, away, state).send(FACTS)
    now = NOW
    daily = DailyDelivery(DigestDelivery(COMPANY, away, state), "08:00", clock=lambda: now)
    daily.after(FACTS.measured)
    daily = DailyDelivery(DigestDelivery(COMPANY, settings, state), "08:00", clock=lambda: now)
    daily.after(FACTS.measured)
    assert len(postbox.to("finance@example.com")) == 1


def test_a_digest_that_does_not_arrive_is_known_until_one_does(
    state: State, settings: Settings, postbox: Postbox
) -> None:
    """No mail looks like no news."""
    now = NOW
    away = settings.model_copy(update={"mail_server": "127.0.0.1:1"})
    daily = DailyDelivery(DigestDelivery(COMPANY, away, state), "08:00", clock=lambda: now)
    daily.after(FACTS.measured)
    assert "the mail server 127.0.0.1:1: " in daily.unsent
    now = NOW + LATEST + timedelta(hours=1)
    daily.after(FACTS.measured)
    assert daily.unsent, "also when it is no longer tried"
    now = NOW + DAY
    daily = DailyDelivery(DigestDelivery(COMPANY, settings, state), "08:00", clock=lambda: now)
    postbox.refuses = True
    daily.after(FACTS.measured)
    assert "to finance@example.com: " in daily.unsent
    assert "550 nobody of that name lives here" in daily.unsent
    now, postbox.refuses = NOW + 2 * DAY, False
    daily.after(FACTS.measured)
    assert daily.unsent == ""


def test_a_digest_whose_watch_was_away_at_its_time_is_known_until_the_next(
    state: State, settings: Settings, postbox: Postbox
) -> None:
    """Or whose watch was restarted since it failed: nobody else remembers."""
    now = NOW + LATEST + timedelta(hours=1)

    def restarted(of: Settings = settings) -> DailyDelivery:
        daily = DailyDelivery(DigestDelivery(COMPANY, of, state), "08:00", clock=lambda: now)
        daily.after(FACTS.measured)
        return daily

    assert restarted().unsent == "", "none was ever due before"
    now = NOW + DAY
    assert restarted().unsent == ""
    now += LATEST + timedelta(hours=1)
    assert restarted().unsent == "", "it was sent by the one before"
    now = NOW + 2 * DAY
    assert restarted(settings.model_copy(update={"mail_server": "127.0.0.1:1"})).unsent
    now += LATEST + timedelta(hours=1)
    late = restarted()
    assert "has not reached everybody" in late.unsent
    now = NOW + 3 * DAY
    late.after(FACTS.measured)
    assert late.unsent == ""
    now += DAY + LATEST + timedelta(hours=1)
    assert "has not reached everybody" in restarted().unsent, "no watch was there at all"


def test_what_a_digest_can_not_tell_keeps_nobody_from_measuring(
    state: State, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = DigestDelivery(COMPANY, settings, state)
    monkeypatch.setattr(delivery, "gather", lambda *_: {}["a kind of another release"])
    daily = DailyDelivery(delivery, "08:00", clock=lambda: NOW)
    daily.after(FACTS.measured)
    assert "KeyError: 'a kind of another release'" in daily.unsent


@pytest.mark.parametrize("answer", ["450 greylisted, come again later", "421 too busy", ""])
def test_a_mail_that_the_server_takes_later_goes_later(
    state: State, settings: Settings, postbox: Postbox, answer: str
) -> None:
    daily = DailyDelivery(DigestDelivery(COMPANY, settings, state), "08:00", clock=lambda: NOW)
    postbox.busy["finance@example.com"] = answer
    daily.after(FACTS.measured)
    assert postbox.to("finance@example.com") == []
    postbox.busy.clear()
    for _ in range(3):
        daily.after(FACTS.measured)
    assert sorted(str(each["X-Envelope-To"]) for each in postbox.mail) == [
        "ann@example.com",
        "finance@example.com",
        "sales@example.com",
    ], "each once"


def test_a_mail_that_the_server_never_takes_is_not_tried_all_morning(
    state: State, settings: Settings, postbox: Postbox
) -> None:
    daily = DailyDelivery(DigestDelivery(COMPANY, settings, state), "08:00", clock=lambda: NOW)
    postbox.refuses = True
    daily.after(FACTS.measured)
    postbox.refuses = False
    daily.after(FACTS.measured)
    assert postbox.mail == []


def test_what_the_mail_server_can_not_do_is_said(settings: Settings, tmp_path: Path) -> None:
    login = {"mail_user": "sorbus", "mail_password": SecretStr("a secret")}
    for update, why in (
        ({"mail_server": ""}, "set SORBUS_MAIL_SERVER"),
        ({"mail_tls": "starttls"}, "see SORBUS_MAIL_TLS"),
        (login, "see SORBUS_MAIL_TLS"),
        ({"mail_user": "sorbus", "mail_password_file": tmp_path / "none"}, "SORBUS_MAIL_PASSWORD_FILE .*No such file"),
    ):
        with pytest.raises(SorbusError, match=why), outbox(settings.model_copy(update=update)):
            pytest.fail(f"{update} should have been refused")
    assert "a secret" not in repr(settings.model_copy(update=login))


def test_the_command_shows_what_waits_for_whom(line: Line, sorbus: Sorbus, tmp_path: Path) -> None:
    state = State(line.env["SORBUS_DATABASE"], line.loaded.map.topic_prefix)
    migrate(state)
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 1, named("a name that is too long for it")), ("g2", 1, named("short"))])
        line.until_letters(1)
    env = {name: line.env[name] for name in line.env if name.startswith("SORBUS_")}

    def shown(*words: str, status: int = 0) -> str:
        done = sorbus("digest", *words, **env)
        assert done.exit_code == status, done.output
        return done.stdout if status == 0 else done.output

    finance, sales = (json.loads(shown("--owner", who, "--json")) for who in ("Finance", "Sales"))
    assert (finance["systems"], sales["systems"]) == (["books"], ["crm"])
    for one in (finance, sales):
        [letters] = [section["items"] for section in one["sections"] if section["title"] == "Dead letters"]
        assert "1 open (1 of them new)" in letters[0]["words"]
    assert "Dead letters\n  * gadget to books: " in shown()
    page = tmp_path / "digest.html"
    shown("--html", str(page))
    assert page.read_text().startswith("<!doctype html>")
    assert "did you mean Finance?" in shown("--owner", "Finnance", status=2)
    assert "--send mails every owner" in shown("--owner", "Finance", "--send", status=2)
    assert "set SORBUS_MAIL_SERVER" in shown("--send", status=1)
    state.close()


def test_the_watch_mails_the_digest_at_its_time(line: Line, postbox: Postbox) -> None:
    map_file = line.folder / "map.yaml"
    map_file.write_text(map_file.read_text().replace("owner: Finance", 'owner: "Finance <finance@example.com>"'))
    state = State(line.env["SORBUS_DATABASE"], line.loaded.map.topic_prefix)
    migrate(state)
    line.execute(RESTRICTED)
    with line.consuming():
        line.publish([("g1", 1, named("a name that is too long for it"))])
        line.until_letters(1)
    at = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%H:%M")
    mail = {"SORBUS_MAIL_SERVER": f"127.0.0.1:{postbox.port}", "SORBUS_MAIL_FROM": "s@example.com"}
    command = [str(Path(sys.executable).with_name("sorbus")), "watch", "--interval", "1"]
    command += ["--digest", at, "--digest-to", "ops@example.com"]
    env = {**line.env, **mail, "SORBUS_MAIL_TLS": "off", "SORBUS_CONSOLE_URL": CONSOLE}
    with (line.folder / "watch.log").open("wb") as log:
        watch = subprocess.Popen(command, env=env, stdout=log, stderr=log)
        try:
            for address in ("finance@example.com", "ops@example.com"):
                [found] = eventually(lambda who=address: postbox.to(who), f"mail to {address}")
                assert "gadget to books" in text_of(found)
                assert f"{CONSOLE}/letters?flow=gadget-to-books" in text_of(found)
        finally:
            watch.terminate()
            watch.wait(20)
    assert len(postbox.mail) == 2
    state.close()


@pytest.mark.parametrize(
    ("env", "at", "why"),
    [
        ({"SORBUS_MAIL_SERVER": ""}, "08:00", "needs SORBUS_DATABASE, SORBUS_MAIL_SERVER"),
        ({"SORBUS_MAIL_SERVER": "127.0.0.1:1"}, "noon", "write a time such as 08:00"),
    ],
)
def test_a_digest_that_can_not_be_sent_is_refused_at_the_start(
    sorbus: Sorbus, database: str, stack: Addresses, tmp_path: Path, env: dict[str, str], at: str, why: str
) -> None:
    (tmp_path / "map.yaml").write_text("systems: {crm: {kind: spreadsheet}}\ndata_types: {}\n")
    words = ("--map", str(tmp_path / "map.yaml"), "watch", "--digest", at)

    done = sorbus(*words, SORBUS_DATABASE=database, SORBUS_KAFKA=stack.kafka, **env)

    assert done.exit_code == 2
    assert why in " ".join(done.output.replace("│", " ").split())
