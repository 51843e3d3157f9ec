"""A real n8n with a folder of its own, which people work with through the interface that its pages use."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.processes import family
from sorbus.ops.embedded.ports import free_port, listens

_INSTALLED = ("bin", "node24", "node_modules", "package.json", "package-lock.json", "installed")
_OWNER = {"email": "owner@brightwater.example", "firstName": "Ada", "lastName": "Ops", "password": "Owner-of-n8n-1"}
_INSTALLED_WITHIN, _STARTS_WITHIN, _ENDS_WITHIN = 1500.0, 300.0, 60.0


@dataclass(frozen=True)
class Execution:
    """A run of a workflow. `started`: text as n8n writes it, UTC; `status`: success, error, crashed, running ..."""

    workflow: str
    started: str
    status: str


class N8n:
    """`installed`: where the program lies, or is put the first time; `folder`: this server's own database and log."""

    def __init__(self, script: Path, installed: Path, folder: Path, env: Mapping[str, str]) -> None:
        self.folder, self.port = folder, free_port(15678)
        own = {"N8N_SECURE_COOKIE": "false", "N8N_RUNNERS_BROKER_PORT": str(free_port(15679))}
        self._script, self._env = script, {**os.environ, **env, **own}
        self._is_owned = False
        if not (installed / "installed").exists():
            self._run_script(installed)
            _end(installed, signal.SIGTERM)
        folder.mkdir(parents=True)
        for name in _INSTALLED:
            if (installed / name).exists():
                (folder / name).symlink_to(installed / name)
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    @property
    def pid(self) -> int:
        """The first of its processes, 0 before the first start."""
        file = self.folder / "pid"
        return int(file.read_text()) if file.exists() else 0

    def start(self) -> None:
        """Returns once its pages answer, and its first user is logged in; its health answers before."""
        self._run_script(self.folder)
        end = time.monotonic() + _STARTS_WITHIN
        while not self._is_ready():
            said = (self.folder / "log").read_text("utf-8", "replace")[-500:]
            assert Path(f"/proc/{self.pid}").exists(), f"n8n ended by itself: {said}"
            assert time.monotonic() < end, f"n8n was not ready within {_STARTS_WITHIN:.0f} s: {said}"
            time.sleep(0.5)
        if self._is_owned:
            self.ask("POST", "/rest/login", {"emailOrLdapLoginId": _OWNER["email"], "password": _OWNER["password"]})

    def kill(self) -> None:
        """kill -9 of all its processes."""
        _end(self.folder, signal.SIGKILL)

    def stop(self) -> None:
        """In order."""
        _end(self.folder, signal.SIGTERM)

    def own(self) -> None:
        """Its first user, logged in."""
        self.ask("POST", "/rest/owner/setup", _OWNER)
        self._is_owned = True

    def create_credential(self, name: str, kind: str, data: Mapping[str, object]) -> str:
        """Its id."""
        made = self.ask("POST", "/rest/credentials", {"name": name, "type": kind, "data": data})
        return str(made["id"])

    def change_credential(self, id: str, **data: object) -> None:
        """As a person types a new password into it."""
        known = self.ask("GET", f"/rest/credentials/{id}?includeData=true")
        kept = known["data"]
        assert isinstance(kept, dict)
        body = {"name": known["name"], "type": known["type"], "data": {**kept, **data}}
        self.ask("PATCH", f"/rest/credentials/{id}", body)

    def create_workflow(self, workflow: Mapping[str, object]) -> str:
        """Its id; published."""
        made = self.ask("POST", "/rest/workflows", workflow)
        self.ask("POST", f"/rest/workflows/{made['id']}/activate", {"versionId": made["versionId"]})
        return str(made["id"])

    def edit_workflow(self, id: str, old: str, new: str) -> None:
        """As a person writes `new` for `old` in its nodes, saves and publishes it."""
        known = self.ask("GET", f"/rest/workflows/{id}")
        text = json.dumps(known["nodes"])
        assert json.dumps(old)[1:-1] in text, f"{known['name']} has no {old}"
        nodes = json.loads(text.replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1]))
        body = {"name": known["name"], "nodes": nodes, "connections": known["connections"]}
        saved = self.ask("PATCH", f"/rest/workflows/{id}", {**body, "versionId": known["versionId"]})
        self.ask("POST", f"/rest/workflows/{id}/activate", {"versionId": saved["versionId"]})

    def post(self, path: str) -> None:
        """Calls a workflow's webhook."""
        self._client.post(f"/webhook/{path}", json={}).raise_for_status()

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, object]:
        """What its pages ask; AssertionError with its words if it refuses."""
        answer = self._client.request(method, path, json=body, headers={"browser-id": "sorbus-test"})
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        found = answer.json()["data"]
        assert isinstance(found, dict)
        return found

    def executions(self) -> list[Execution]:
        """All so far, in order, from its own database."""
        file = self.folder / "home/.n8n/database.sqlite"
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30)) as connection:
            rows = connection.execute(
                "select w.name, coalesce(e.startedAt, e.createdAt), e.status from execution_entity e"
                " join workflow_entity w on w.id = e.workflowId order by e.id"
            ).fetchall()
        return [Execution(*map(str, row)) for row in rows]

    def _is_ready(self) -> bool:
        if not listens(family(self.pid), self.port):
            return False
        try:
            answer = self._client.get("/rest/settings")
        except httpx.HTTPError:
            return False
        return answer.is_success and "json" in answer.headers.get("content-type", "")

    def _run_script(self, folder: Path) -> None:
        words = ["bash", str(self._script), str(folder), str(self.port)]
        subprocess.run(
            words, check=True, env=self._env, stdin=subprocess.DEVNULL, capture_output=True, timeout=_INSTALLED_WITHIN
        )


def _end(folder: Path, how: signal.Signals) -> None:
    group, end = int((folder / "pid").read_text()), time.monotonic() + _ENDS_WITHIN
    try:
        os.killpg(group, how)
        while time.monotonic() < end:
            os.killpg(group, 0)
            time.sleep(0.2)
    except ProcessLookupError:
        return
    raise AssertionError(f"n8n did not end within {_ENDS_WITHIN:.0f} s")


class Meter:
    """What processes cost, looked at every second: `roots` gives those that run now, by name."""

    def __init__(self, roots: Callable[[], Mapping[str, int]]) -> None:
        self._roots, self._cpu, self.peak = roots, dict[tuple[str, int], float](), dict[str, int]()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def cpu(self, name: str) -> float:
        """Seconds of all its processes, those that ended too."""
        return sum(seconds for (of, _), seconds in self._cpu.items() if of == name)

    def stop(self) -> None:
        """No more looks."""
        self._over.set()
        self._thread.join(10)

    def _look(self) -> None:
        while not self._over.wait(1.0):
            for name, root in self._roots().items():
                if not root:
                    continue
                total = 0
                for pid in family(root):
                    try:
                        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                        resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
                    except OSError:
                        continue  # ended while we looked
                    self._cpu[name, pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                    total += resident * os.sysconf("SC_PAGE_SIZE")
                self.peak[name] = max(self.peak.get(name, 0), total)
