"""Redmine as the project tool: its administrator, its people (REST), and its own tables."""

from __future__ import annotations

import re
import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import cast

import httpx

from sorbus.ops.demo.year.ledger import Rows
from sorbus.ops.demo.year.systems import keyed
from tests.acceptance.real import Running

_TIMEOUT = 120
_CUSTOMER, _MARKER = "Customer", "Sorbus"
_CLOSED = 5
_DESIGN = 8
_PROJECTS = """
select p.id, upper(p.identifier), p.name, v.value from projects p
join custom_values v on v.customized_type = 'Project' and v.customized_id = p.id and v.value <> ''
join custom_fields f on f.id = v.custom_field_id and f.name = 'Customer'
where p.status in (1, 5)"""
_CUSTOMERS = """
select v.value, substr(p.description, 1, instr(p.description, ' ') - 1), p.name,
       substr(p.description, instr(p.description, ' ') + 1), p.identifier, p.is_public from projects p
join custom_values v on v.customized_type = 'Project' and v.customized_id = p.id and v.value <> ''
join custom_fields f on f.id = v.custom_field_id and f.name = 'Sorbus'
where p.status in (1, 5)"""
_WORK = """
select i.id, i.project_id, i.subject, case when s.is_closed then (select sum(hours) from time_entries t
       where t.issue_id = i.id) else '' end, coalesce(i.due_date, '') from issues i
join issue_statuses s on s.id = i.status_id"""
_PEOPLE = """
select u.login, u.firstname || ' ' || u.lastname, e.address from users u
join email_addresses e on e.user_id = u.id and e.is_default
where u.type = 'User' and not u.admin"""


class Redmine:
    """Implements `ProjectTool`: people work with the administrator's key, Sorbus as a user of its own.

    Its custom fields have to be there first: `prepare`.
    """

    def __init__(self, running: Running) -> None:
        self.running, self.url = running, running.url
        self.database = running.folder / "redmine.sqlite3"
        self.marker = 0
        self._api = httpx.Client(base_url=self.url, headers={"X-Redmine-API-Key": running.said}, timeout=_TIMEOUT)
        self._password = secrets.token_hex(12)
        self._fields: dict[tuple[str, str], int] = {}

    def prepare(self) -> str:
        """Makes Sorbus's user, and the custom fields, as an administrator does in the browser; the user's API key."""
        user = {"login": "sorbus", "firstname": "Sorbus", "lastname": "Bus", "mail": "sorbus@brightwater.example"}
        self._done(self._api.post("/users.json", json={"user": {**user, "admin": True, "password": self._password}}))
        browser = self._log_in()
        for kind, name in (("Project", _CUSTOMER), ("Project", _MARKER), ("Issue", _CUSTOMER)):
            field = {"name": name, "field_format": "string", "is_filter": "1"}
            more: dict[str, object] = {"custom_field[is_for_all]": "1", "custom_field[tracker_ids][]": ["1", "2", "3"]}
            form = {"type": f"{kind}CustomField", **{f"custom_field[{key}]": value for key, value in field.items()}}
            self._submit(browser, "/custom_fields", {**form, **(more if kind == "Issue" else {})})
        for one in cast("list[dict[str, object]]", self._api.get("/custom_fields.json").json()["custom_fields"]):
            self._fields[str(one["customized_type"]), str(one["name"])] = cast("int", one["id"])
        self.marker = self._fields["project", _MARKER]
        return self.key()

    def key(self) -> str:
        """The API key of Sorbus's user, as that user sees it."""
        answer = self._done(httpx.get(f"{self.url}/users/current.json", auth=("sorbus", self._password)))
        return str(cast("Mapping[str, str]", answer["user"])["api_key"])

    def reset_key(self) -> None:
        """Somebody presses "Reset" beside the key on Sorbus's account page: the old one is worth nothing."""
        self._submit(self._log_in(), "/my/api_key", {}, page="/my/account")

    def new_project(self, code: str, name: str, customer: int, day: date) -> int:
        """See `ProjectTool`."""
        fields = [{"id": self._fields["project", _CUSTOMER], "value": str(customer)}]
        project = {"name": name, "identifier": code.lower(), "is_public": False, "custom_fields": fields}
        return self._made("project", "/projects.json", project)

    def plan_work(self, project: int, customer: int, title: str, staff: str) -> int:
        """See `ProjectTool`."""
        fields = [{"id": self._fields["issue", _CUSTOMER], "value": str(customer)}]
        issue = {"project_id": project, "tracker_id": 2, "subject": title, "start_date": "", "custom_fields": fields}
        return self._made("issue", "/issues.json", issue)

    def complete_work(self, item: int, hours: Decimal, day: date) -> None:
        """See `ProjectTool`. One form, as people save it: the issue is closed, and the time logged with it."""
        issue = {"status_id": _CLOSED, "start_date": f"{day}", "due_date": f"{day}"}
        spent = {"hours": str(hours), "activity_id": _DESIGN, "spent_on": f"{day}"}
        self._done(self._api.put(f"/issues/{item}.json", json={"issue": issue, "time_entry": spent}))

    def rename(self, customer: str, name: str) -> None:
        """Somebody gives a customer's project another name."""
        self._done(self._api.put(f"/projects/customer-{customer}.json", json={"project": {"name": name}}))

    def projects(self) -> Rows:
        """What people made: id -> code, name, customer."""
        return self._rows("projects.projects", _PROJECTS)

    def customers(self) -> Rows:
        """What Sorbus made: customer -> number, name, address."""
        found = self._rows("projects.customers", _CUSTOMERS)
        for id, (*_, identifier, is_public) in found.items():
            assert (identifier, is_public) == (f"customer-{id}", "0"), (
                f"Redmine's project of customer {id} is another's"
            )
        return {id: row[:3] for id, row in found.items()}

    def work(self) -> Rows:
        """Issue -> project, title, hours once it is closed, day."""
        return self._rows("projects.work", _WORK)

    def employees(self) -> Rows:
        """Login -> name, address."""
        return self._rows("projects.employees", _PEOPLE)

    def _rows(self, relation: str, query: str) -> Rows:
        return keyed(relation, rows_in(self.database, query))

    def _made(self, what: str, path: str, fields: Mapping[str, object]) -> int:
        answer = self._done(self._api.post(path, json={what: fields}))
        return int(str(cast("Mapping[str, object]", answer[what])["id"]))

    def _log_in(self) -> httpx.Client:
        browser = httpx.Client(base_url=self.url, timeout=_TIMEOUT, follow_redirects=True)
        self._submit(browser, "/login", {"username": "sorbus", "password": self._password})
        return browser

    @staticmethod
    def _submit(browser: httpx.Client, path: str, form: Mapping[str, object], page: str = "") -> None:
        found = re.search(r'name="csrf-token" content="([^"]+)"', browser.get(page or path).text)
        assert found, f"{page or path} of Redmine has no form"
        answer = browser.post(path, data={"authenticity_token": found[1], **form})
        assert answer.status_code == 200, answer.text
        assert "errorExplanation" not in answer.text, f"Redmine refuses {path}: {answer.text}"

    @staticmethod
    def _done(answer: httpx.Response) -> Mapping[str, object]:
        assert answer.is_success, f"Redmine answers {answer.status_code}: {answer.text[:2000]}"
        return cast("Mapping[str, object]", answer.json()) if answer.content else {}


def rows_in(file: Path, query: str) -> list[tuple[object, ...]]:
    """What an application's own SQLite database holds."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(query).fetchall()
