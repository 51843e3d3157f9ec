"""Request Tracker as the support desk: its administrator, its people (REST), and its own tables."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from sorbus.ops.demo.year.ledger import Rows, trimmed
from sorbus.ops.demo.year.systems import keyed
from tests.acceptance.real import Running, request_tracker
from tests.acceptance.real_year.redmine import rows_in

SETTINGS = Path("/etc/request-tracker5/RT_SiteConfig.d")
INSTALLED = Path("/var/lib/dbconfig-common/sqlite3/request-tracker5/rtdb")
_QUEUE, _FIELD = "Brightwater", "CRM id"
_DATA = """
our @Queues = ({{ Name => '{queue}' }});
our @CustomFields = ({{
    Name => '{field}', Type => 'FreeformSingle', LookupType => 'RT::Queue-RT::Ticket', Queue => ['{queue}'],
}});
our @Users = ({{
    Name => 'sorbus', EmailAddress => 'sorbus@brightwater.example', Password => '{password}', Privileged => 1,
}});
our @ACL = ({{ UserId => 'sorbus', Right => 'SuperUser' }});
1;
"""
_CUSTOMERS = """
select replace(u.Name, 'customer-', ''), u.Organization, u.RealName, u.EmailAddress from Users u
join Principals p on p.id = u.id
where p.Disabled = 0 and u.Name like 'customer-%'"""
_TICKETS = """
select t.id, t.Subject, v.Content, t.Status, t.TimeWorked from Tickets t
join Queues q on q.id = t.Queue and q.Name = 'Brightwater'
join ObjectCustomFieldValues v on v.ObjectType = 'RT::Ticket' and v.ObjectId = t.id and v.Disabled = 0
where t.Status <> 'deleted'"""


class Tracker:
    """Implements `SupportDesk`: people work as root, Sorbus as a user of its own."""

    def __init__(self, running: Running, env: Mapping[str, str]) -> None:
        self.running, self.url = running, f"{running.url}/REST/2.0"
        self.password = secrets.token_hex(12)
        self._env, self._database = env, Path(env["RT_SITE_CONFIG_DIR"]).parent / "rtdb"
        self._api = httpx.Client(base_url=self.url, auth=("root", "password"), timeout=120)

    def prepare(self) -> str:
        """Makes the queue, its custom field, and Sorbus's user with the rights it needs; that user's password."""
        data = self._database.with_name("data.pl")
        data.write_text(_DATA.format(queue=_QUEUE, field=_FIELD, password=self.password), "utf-8")
        self._administer("rt-setup-database-5", "--action", "insert", "--skip-create", "--datafile", str(data))
        return self.password

    def set_password(self, password: str) -> None:
        """Somebody gives Sorbus's user another password."""
        self._administer("rt-passwd-5", "sorbus", typed=f"{password}\n")

    def open_ticket(self, subject: str, customer: int) -> int:
        """See `SupportDesk`. The customer is its requestor if Request Tracker knows it by now."""
        known = self._api.get(f"/user/customer-{customer}")
        requestor = {"Requestor": [f"customer-{customer}"]} if known.status_code == 200 else {}
        ticket = {"Queue": _QUEUE, "Subject": subject, "CustomFields": {_FIELD: str(customer)}, **requestor}
        answer = self._api.post("/ticket", json=ticket)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def close_ticket(self, ticket: int, minutes: int) -> None:
        """See `SupportDesk`."""
        answer = self._api.put(f"/ticket/{ticket}", json={"Status": "resolved", "TimeWorked": minutes})
        assert answer.status_code == 200, answer.text

    def rename(self, customer: str, name: str) -> None:
        """Somebody gives a customer another name."""
        answer = self._api.put(f"/user/customer-{customer}", json={"RealName": name})
        assert answer.status_code == 200, answer.text

    def customers(self) -> Rows:
        """Customer -> number, name, address; those that are disabled are gone."""
        return keyed("support.customers", rows_in(self._database, _CUSTOMERS))

    def tickets(self) -> Rows:
        """Ticket -> subject, customer, status, hours."""
        found = keyed("support.tickets", rows_in(self._database, _TICKETS))
        words = {"new": "OPEN", "open": "OPEN", "resolved": "RESOLVED"}
        return {id: (*row[:2], words[row[2]], trimmed(f"{int(row[3]) / 60:.2f}")) for id, row in found.items()}

    def _administer(self, *command: str, typed: str = "") -> None:
        done = subprocess.run(
            command, env={**os.environ, **self._env}, input=typed, capture_output=True, text=True, timeout=120,
            check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert "Couldn't" not in said, said
        assert "Done." in said or "Successfully" in said, said


@contextmanager
def own_request_tracker(folder: Path) -> Iterator[Tracker]:
    """Request Tracker with a database of its own in `folder`: the installed one, copied."""
    settings, database = folder / "settings", folder / "rtdb"
    env = {"RT_SITE_CONFIG_DIR": str(settings)}
    if not INSTALLED.is_file():
        with request_tracker(folder):  # installs it
            pass
    shutil.copytree(SETTINGS, settings)
    shutil.copyfile(INSTALLED, database)
    text = f"Set($DatabaseName, '{database}');\nSet($Timezone, 'UTC');\nSet($MailCommand, 'testfile');\n1;\n"
    (settings / "99-year.pm").write_text(text, "utf-8")
    with request_tracker(folder, env) as running:
        yield Tracker(running, env)
