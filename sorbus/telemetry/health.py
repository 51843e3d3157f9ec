"""A process's liveness and readiness, with its metrics on the same port.

`/healthz/live` fails if the loop has not beaten for too long: a supervisor should restart the process.
`/healthz/ready` fails while the process can't do its work, and says why: a person or a rollout waits.
`/healthz` is both in one; `/healthz/status` the same as JSON, with the time; `/metrics` is Prometheus's text format.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import NamedTuple, Self

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from sorbus.plain_server import PlainHandler, PlainServer
from sorbus.telemetry.metrics import UP

_LONGEST_LABEL = 300
REFUSED = "refused"
"""The dependency that a process reports while it waits for a person."""


class Status(NamedTuple):
    """Whether a process could work now. `since`: when that last changed; `reason` in plain words if it isn't ready.

    `dependency` names what is missing, from a TransientError or `block`; "" if unknown.
    """

    ready: bool
    since: datetime
    reason: str | None
    dependency: str = ""


class Health:
    """The loop's own state; written by its thread and those that work for it, read by the server's.

    Ready means that it could work now: no dependency (Kafka, its target or source) is known to be missing.

    `stale_after` is in seconds: how long the loop may go without a beat before the process counts as stuck.
    """

    def __init__(self, *, stale_after: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stale_after, self._clock = stale_after, clock
        self._beat = clock()
        self._reasons: dict[str, str] = {"": "starting"}
        self._missing = ""
        self._notes: dict[str, str] = {}
        self._lock = threading.Lock()
        self._since = datetime.now(UTC)
        self.was_ready = False
        """Whether it ever was."""

    def beat(self) -> None:
        """Records that the loop has completed another round."""
        self._beat = self._clock()

    def ready(self, reason: str | None = None, *, dependency: str = "", since: datetime | None = None) -> None:
        """Ready for work, or not, with a `reason` in plain words. Blocks by `block` still count.

        `dependency`: what is missing, as in TransientError. `since`: when it began, where that is before now.
        """
        self._missing = dependency
        if reason:
            self.block("", reason)
            self._since = min(self._since, since or self._since)
        else:
            self.unblock("")
            self.unblock(REFUSED)
            self.was_ready = True
        self.beat()

    def block(self, dependency: str, reason: str) -> None:
        """Not ready until `unblock`: a dependency is missing, by a name such as `kafka`."""
        with self._lock:
            if not self._reasons:
                self._since = datetime.now(UTC)
            self._reasons = {**self._reasons, dependency: reason}

    def unblock(self, dependency: str) -> None:
        """Ends a `block`."""
        with self._lock:
            if dependency in self._reasons:
                self._reasons = {name: reason for name, reason in self._reasons.items() if name != dependency}
                if not self._reasons:
                    self._since = datetime.now(UTC)

    def report(self, dependency: str, reason: str | None) -> None:
        """`block`, or `unblock` where there is no reason."""
        self.block(dependency, reason) if reason else self.unblock(dependency)

    def note(self, name: str, words: str | None) -> None:
        """A warning while the process works; None: no longer."""
        if words is None and name not in self._notes:
            return
        with self._lock:
            notes = {key: said for key, said in self._notes.items() if key != name}
            self._notes = notes if words is None else {**notes, name: words}

    def notes(self) -> dict[str, str]:
        """The current warnings, by name."""
        return self._notes

    def stuck(self) -> str | None:
        """Why the process should be restarted, None if it is alive."""
        silent = self._clock() - self._beat
        if silent > self._stale_after:
            return f"the loop has not completed a round for {silent:.0f} s (allowed: {self._stale_after:.0f} s)"
        return None

    def waiting(self) -> str | None:
        """Why the process isn't ready, None if it is."""
        return "; ".join(self._reasons.values()) or None

    def status(self) -> Status:
        """Whether it is ready, since when, and why not."""
        reason = self.waiting()
        named = [REFUSED] if REFUSED in self._reasons else [name or self._missing for name in self._reasons]
        return Status(reason is None, self._since, reason, next((name for name in named if name), ""))


class SharedHealth(Health):
    """The health of a process that runs several, such as the consumers of some flows: as bad as that of its worst.

    `parts`: by name, such as "consume order-to-reporting".
    """

    def __init__(self, parts: Mapping[str, Health]) -> None:
        super().__init__()
        self._parts = parts

    def stuck(self) -> str | None:
        """Why the process should be restarted, None if all are alive."""
        return "; ".join(f"{name}: {why}" for name, one in self._parts.items() if (why := one.stuck())) or None

    def waiting(self) -> str | None:
        """Why some aren't ready, None if all are."""
        return "; ".join(f"{name}: {why}" for name, one in self._parts.items() if (why := one.waiting())) or None

    def status(self) -> Status:
        """Of those that aren't ready, since the first isn't."""
        found = [one.status() for one in self._parts.values()]
        if not (waiting := [one for one in found if not one.ready]):
            return Status(True, max(one.since for one in found), None)
        first = min(waiting, key=lambda one: one.since)
        return Status(False, first.since, self.waiting(), first.dependency)


class _Readiness(Collector):
    """A registry's metrics plus the readiness of each part of the process, computed on each scrape."""

    def __init__(self, registry: Collector, parts: Mapping[str, Health]) -> None:
        self._registry, self._parts = registry, parts

    def collect(self) -> Iterable[Metric]:
        yield from self._registry.collect()
        is_ready = GaugeMetricFamily("sorbus_ready", "1 while the process could work now.", labels=["process"])
        changed = GaugeMetricFamily(
            "sorbus_ready_changed_timestamp_seconds", "When sorbus_ready last changed.", labels=["process"]
        )
        why = GaugeMetricFamily(
            "sorbus_not_ready", "1 while the process can't work, with the reason.", labels=["process", "reason"]
        )
        for name, health in self._parts.items():
            ready, since, reason, _ = health.status()
            is_ready.add_metric([name], float(ready))
            changed.add_metric([name], since.timestamp())
            if reason is not None:
                why.add_metric([name, reason[:_LONGEST_LABEL]], 1.0)
        yield from (is_ready, changed, why)


class HealthServer:
    """Serves /metrics and /healthz from its own thread during its `with` block."""

    def __init__(
        self,
        health: Health,
        *,
        process: str,
        port: int = 0,
        host: str = "127.0.0.1",
        registry: CollectorRegistry = REGISTRY,
        parts: Mapping[str, Health] | None = None,
    ) -> None:
        """Binds immediately; port 0 takes a free one. OSError if the port is taken.

        `parts`: where a process runs several, each with its health, by name.
        """
        parts = parts or {process: health}
        self._server = _Server((host, port), health, registry, process, parts)
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self.port: int = self._server.server_address[1]
        self._up = [UP.labels(name) for name in parts]

    def start(self) -> Self:
        for up in self._up:
            up.set(1)
        self._thread.start()
        return self

    def stop(self) -> None:
        for up in self._up:
            up.set(0)
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Server(PlainServer):
    def __init__(
        self,
        address: tuple[str, int],
        health: Health,
        registry: CollectorRegistry,
        process: str,
        parts: Mapping[str, Health],
    ) -> None:
        self.health, self.process, self.metrics = health, process, _Readiness(registry, parts)
        super().__init__(address, _Handler)


class _Handler(PlainHandler):
    server: _Server

    def do_GET(self) -> None:  # noqa: N802
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept") or "")
            self._answer(HTTPStatus.OK, encode(self.server.metrics), content_type)
            return
        health = self.server.health
        if path == "/healthz/status":
            told = {"process": self.server.process, "stuck": health.stuck(), **health.status()._asdict()}
            self._answer(HTTPStatus.OK, json.dumps(told, default=_text).encode(), "application/json")
            return
        questions = {
            "/healthz/live": (health.stuck,),
            "/healthz/ready": (health.waiting,),
            "/healthz": (health.stuck, health.waiting),
        }.get(path)
        if questions is None:
            self._answer(HTTPStatus.NOT_FOUND, b"try /metrics, /healthz, /healthz/live or /healthz/ready\n")
            return
        reasons = [reason for ask in questions if (reason := ask())]
        status = HTTPStatus.SERVICE_UNAVAILABLE if reasons else HTTPStatus.OK
        since = f" (since {_text(health.status().since)})" if health.waiting() in reasons else ""
        self._answer(status, ("\n".join(reasons or ["ok"]) + since + "\n").encode())

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _text(moment: object) -> str:
    return moment.isoformat(timespec="seconds") if isinstance(moment, datetime) else str(moment)
