"""Each server taken away for two minutes while people look on: what console, status, health and mail say, and after.

Slow, and on servers of its own. SORBUS_PICTURES names a folder for pictures of the console and what was said.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from playwright.sync_api import Page

from sorbus.ops.embedded import Stack
from tests.acceptance.office import Office, rows_of
from tests.gateway import Gateway
from tests.http_api.faulty import Faulty
from tests.ops.console.browser import opened
from tests.ops.postbox import Postbox, served, text_of

AWAY, LOOK_AFTER = 120.0, 30.0
BACK_WITHIN, MAIL_WITHIN = 90.0, 420.0
OPS = Path(__file__).parents[2] / "ops"
FIELDS = ("name", "email", "city")
SCHEMA: list[object] = [
    {"name": "name", "type": "string"},
    *({"name": name, "type": ["null", "string"], "default": None} for name in FIELDS[1:]),
]
TABLE = "create table contacts (id bigint generated always as identity primary key, name text, email text, city text)"
ADD = "insert into contacts (name, email, city) select 'C' || n, n || '@b.test', 'Köln' from (select %s::int) _ (n)"
OUTAGES = ("target", "source", "vendor", "state", "registry", "kafka")
NAMES = {
    "target": "books",
    "source": "crm",
    "vendor": "desk",
    "state": "the state database",
    "registry": "the schema registry",
    "kafka": "Kafka",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(
        any(shutil.which(program) is None for program in ("prometheus", "prometheus-alertmanager")),
        reason="Debian's packages prometheus and prometheus-alertmanager are not installed",
    ),
]


class Servers:
    """A company's servers, each of which can be taken away."""

    def __init__(self, folder: Path, faulty: Faulty) -> None:
        self.stack = Stack(folder, fast=True)
        self.stack.start()
        database, registry, vendor = self.stack.addresses.database, self.stack.addresses.registry, faulty.base_url
        self.dsns = {name: self.stack.create_database(name) for name in ("crm", "books", "state")}
        self.gateways = {
            "source": _gateway(database),
            "target": _gateway(database),
            "state": _gateway(database),
            "registry": _gateway(registry),
            "vendor": _gateway(vendor),
        }
        self.env = {
            "SORBUS_KAFKA": self.stack.addresses.kafka,
            "SORBUS_REGISTRY": self._through("registry", registry),
            "SORBUS_DATABASE": self._through("state", self.dsns["state"]),
            "CRM_DSN": self._through("source", self.dsns["crm"]),
            "BOOKS_DSN": self._through("target", self.dsns["books"]),
            "DESK_URL": self._through("vendor", vendor),
            "DESK_KEY": faulty.api_key,
        }

    def take_away(self, name: str) -> None:
        if name == "kafka":
            assert self.stack._kafka is not None
            self.stack._kafka.stop()
        else:
            self.gateways[name].close()

    def bring_back(self, name: str) -> None:
        if name == "kafka":
            assert self.stack._kafka is not None
            self.stack._kafka.start()
            self.stack._kafka.wait()
        else:
            self.gateways[name].open()

    def stop(self) -> None:
        for gateway in self.gateways.values():
            gateway.close()
        self.stack.stop()

    def _through(self, name: str, address: str) -> str:
        parts = urlsplit(address)
        user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        return urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{self.gateways[name].port}"))


def _gateway(address: str) -> Gateway:
    parts = urlsplit(address)
    gateway = Gateway("127.0.0.1", int(parts.port or 0))
    gateway.open()
    return gateway


class Timed(Postbox):
    """Knows when each mail came."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[float, str, str, str]] = []

    def news(self) -> list[tuple[float, str, str, str]]:
        """When, to whom, subject, text; of every mail."""
        for mail in list(self.mail)[len(self.seen) :]:
            self.seen.append((time.time(), str(mail["X-Envelope-To"]), str(mail["subject"]), text_of(mail)))
        return self.seen


def test_everything_that_goes_away_is_named_and_comes_back(
    tmp_path: Path, faulty: Faulty, report: Callable[[str], None]
) -> None:
    pictures = Path(os.environ.get("SORBUS_PICTURES", tmp_path / "pictures"))
    pictures.mkdir(parents=True, exist_ok=True)
    chosen = os.environ.get("SORBUS_OUTAGES", ",".join(OUTAGES)).split(",")
    servers = Servers(tmp_path / "stack", faulty)
    wrong: list[str] = []
    with ExitStack() as held:
        held.callback(servers.stop)
        console, prometheus, alertmanager = _free_ports(3)
        url = f"http://127.0.0.1:{console}"
        office = Office(
            tmp_path, "out", {**servers.env, "SORBUS_CONSOLE_PORT": str(console), "SORBUS_CONSOLE_URL": url}
        )
        _write(office, faulty)
        with psycopg.connect(servers.dsns["crm"], autocommit=True) as crm:
            crm.execute(TABLE)
        office.sorbus("apply", "--yes")
        postbox = Timed()
        held.enter_context(served(postbox))
        _write_alerts(office, postbox.port, alertmanager)
        held.enter_context(office.up("--watch", "--console", "--folder", str(tmp_path / "run")))
        for name, *options in (
            ("prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
             f"--web.listen-address=127.0.0.1:{prometheus}"),
            ("prometheus-alertmanager", f"--config.file={tmp_path}/alertmanager.yml", f"--storage.path={tmp_path}/am",
             f"--web.listen-address=127.0.0.1:{alertmanager}", "--cluster.listen-address="),
        ):  # fmt: skip
            held.enter_context(_process([name, *options], tmp_path))
        held.enter_context(_changes(servers.dsns["crm"]))
        browser = held.enter_context(opened())
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        office.until(lambda: _not_well(office, servers, faulty), 150)
        page.goto(url)
        processes = _processes(office)
        for name in chosen:
            wrong += _outage(name, servers, office, faulty, page, postbox, pictures, report)
        deadline = time.monotonic() + MAIL_WITHIN
        while missing := _mails_missing(chosen, postbox):
            if time.monotonic() > deadline:
                wrong.append(f"mail: {missing}")
                break
            time.sleep(1)
        wrong += _bad_links(postbox)
        if (now := _processes(office)) != processes:
            wrong.append(f"processes were restarted: {processes} -> {now}")
        for at, to, subject, text in postbox.news():
            links = re.findall(r"(?:Look|Runbook): (\S+)", text)
            report(f"{time.strftime('%H:%M:%S', time.gmtime(at))} {to}: {subject} {links}")
        (pictures / "up.log").write_text(office.log.read_text("utf-8", "replace"))
        (pictures / "mail.txt").write_text("\n=====\n".join(f"{at} {to} {s}\n{t}" for at, to, s, t in postbox.news()))
    assert wrong == []


def _outage(
    name: str,
    servers: Servers,
    office: Office,
    faulty: Faulty,
    page: Page,
    postbox: Timed,
    pictures: Path,
    report: Callable[[str], None],
) -> list[str]:
    """Takes one server away and brings it back; what was wrong meanwhile."""
    wrong = []
    began = time.monotonic()
    report(f"{_clock()} {name} taken away")
    servers.take_away(name)
    page.wait_for_timeout(1000 * (LOOK_AFTER - (time.monotonic() - began)))
    shown = page.inner_text("body")
    page.screenshot(path=pictures / f"outage-{name}.png", full_page=True)
    page.goto(page.url)
    page.screenshot(path=pictures / f"outage-{name}-reloaded.png", full_page=True)
    told = _command(office, "status")
    checked = _command(office, "status", "--check")
    ready = _ready(office)
    report(f"{_clock()} status ({told.returncode}):\n{told.stdout}{told.stderr}--check: {checked.returncode}")
    report("\n".join(f"  {process}: {status} {body.strip()}" for process, (status, body) in ready.items()))
    (pictures / f"outage-{name}.txt").write_text(shown)
    for where, words in (("the console", shown), ("sorbus status", told.stdout + told.stderr)):
        if not re.search(
            rf"{re.escape(NAMES[name])}.{{0,200}}(unreachable|can't be reached|not reach)", words, re.S | re.I
        ):
            wrong.append(f"{name}: {where} doesn't say so: {words[:1500]}")
    if checked.returncode == 0:
        wrong.append(f"{name}: sorbus status --check exits 0")
    page.wait_for_timeout(max(0.0, 1000 * (AWAY - (time.monotonic() - began))))
    postbox.news()
    servers.bring_back(name)
    back = time.monotonic()
    report(f"{_clock()} {name} is back")
    while missing := _not_well(office, servers, faulty):
        postbox.news()
        if time.monotonic() - back > BACK_WITHIN:
            wrong.append(f"{name}: not well {BACK_WITHIN:.0f} s after it was back: {missing}")
            break
        page.wait_for_timeout(1000)
    report(
        f"{_clock()} all well {time.monotonic() - back:.0f} s after {name} was back; ({missing or 'nothing missing'})"
    )
    page.wait_for_timeout(8000)
    page.screenshot(path=pictures / f"outage-{name}-after.png", full_page=True)
    return wrong


def _not_well(office: Office, servers: Servers, faulty: Faulty) -> str:
    """What keeps it from being well: rows that are missing, or complaints."""
    ids = "select count(*)::int n, max(id)::int last from {}"
    (here,) = rows_of(servers.dsns["crm"], ids.format("contacts"))
    try:
        (there,) = rows_of(servers.dsns["books"], "select count(*)::int n from copied_contacts")
    except psycopg.errors.UndefinedTable:
        return "no table yet"
    at_vendor = len(faulty.contacts())
    if min(int(str(there["n"])), at_vendor) < int(str(here["n"])):
        return f"{here['n']} rows, {there['n']} in books, {at_vendor} at desk"
    if faulty.doubles("our_id") or faulty.doubles("email"):
        return "doubles at the vendor"
    told = _command(office, "status", "--check")
    return told.stdout + told.stderr if told.returncode else ""


def _write(office: Office, faulty: Faulty) -> None:
    api = faulty.describe(office.folder)
    office.write(
        {
            "systems": {
                "crm": {"kind": "postgres", "connection": {"dsn": "${CRM_DSN}"}, "owner": "Sales <sales@example.com>"},
                "books": {
                    "kind": "postgres",
                    "connection": {"dsn": "${BOOKS_DSN}"},
                    "owner": "Finance <finance@example.com>",
                },
                "desk": {
                    "kind": "http",
                    "connection": {"api": api, "base_url": "${DESK_URL}", "api_key": "${DESK_KEY}"},
                    "owner": "Support <support@example.com>",
                },
            },
            "data_types": {"contact": {"system_of_record": "crm", "source": {"table": "contacts"}, "match": ["email"]}},
            "flows": [
                {"data_type": "contact", "to": "books", "target": {"table": "copied_contacts"}},
                {"data_type": "contact", "to": "desk", "target": {"resource": "contacts"}},
            ],
        },
        [("canonical", f"contact.{name}", "desk", f"contacts.{name}", "") for name in FIELDS],
        {"contact": SCHEMA},
    )


def _write_alerts(office: Office, mail: int, alertmanager: int) -> None:
    """The shipped files with their own waits; only addresses are this test's."""
    folder = office.folder
    config = (OPS / "prometheus" / "prometheus.yml").read_text()
    config = config.replace("alertmanager:9093", f"127.0.0.1:{alertmanager}")
    config = config.replace("targets/*.json", str(folder / "run" / "prometheus.json"))
    (folder / "prometheus.yml").write_text(config)
    shutil.copy(OPS / "prometheus" / "alerts.yml", folder / "alerts.yml")
    office.sorbus(
        "alerts", "--output", str(folder), "--mail-server", f"127.0.0.1:{mail}", "--no-mail-tls",
        "--mail-from", "sorbus@example.com", "--to", "ops@example.com",
    )  # fmt: skip


@contextmanager
def _changes(crm: str) -> Iterator[None]:
    """A contact more every five seconds, written in the CRM itself."""
    done = threading.Event()

    def write() -> None:
        number = 0
        with psycopg.connect(crm, autocommit=True) as connection:
            while not done.is_set():
                number += 1
                connection.execute(ADD.encode(), [number])
                done.wait(5)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(20)


def _command(office: Office, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("sorbus")), *words]
    return subprocess.run(
        command, env={**office.env, "COLUMNS": "160"}, cwd=office.folder, capture_output=True, text=True, timeout=90,
        check=False,
    )  # fmt: skip


def _processes(office: Office) -> dict[str, int]:
    """How often each process was started again."""
    found = json.loads((office.folder / "run" / "processes.json").read_text())
    return {str(one["name"]): int(one["restarts"]) for one in found}


def _ready(office: Office) -> dict[str, tuple[int, str]]:
    found = {}
    for one in json.loads((office.folder / "run" / "processes.json").read_text()):
        try:
            answer = httpx.get(f"http://127.0.0.1:{one['port']}/healthz/ready", timeout=10, trust_env=False)
            found[str(one["name"])] = answer.status_code, answer.text
        except httpx.HTTPError as error:
            found[str(one["name"])] = 0, repr(error)
    return found


def _mails_missing(chosen: list[str], postbox: Timed) -> str:
    """Each server: one mail to operators that it is away, one that it is back."""
    subjects = [subject for _, to, subject, _ in postbox.news() if to == "ops@example.com"]
    for name in chosen:
        about = [subject for subject in subjects if NAMES[name].lower() in subject.lower() and "unreachable" in subject]
        gone = sum(not subject.startswith("Resolved: ") for subject in about)
        if (gone, len(about) - gone) != (1, 1):
            return f"{name}: {about}"
    return ""


def _bad_links(postbox: Timed) -> list[str]:
    links = {link for _, _, _, text in postbox.news() for link in re.findall(r"(?:Look|Runbook): (\S+)", text)}
    wrong = []
    for link in sorted(links):
        try:
            if (answer := httpx.get(link, timeout=20, trust_env=False)).status_code != 200:
                wrong.append(f"{link}: {answer.status_code}")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            wrong.append(f"{link}: {error!r}")
    return wrong if links else ["no mail has a link"]


@contextmanager
def _process(command: list[str], folder: Path) -> Iterator[None]:
    with (folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


def _clock() -> str:
    return time.strftime("%H:%M:%S", time.gmtime())
