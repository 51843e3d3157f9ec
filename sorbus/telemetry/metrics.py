"""The loops' metrics, as hooks on named events; the only place that names a process's metrics.

A loop makes one `ProducerMetrics` or `ConsumerMetrics` and calls it once per batch with counts, never once per event.
Labelled children are bound on first use and kept. A label that doesn't apply is empty, which to Prometheus is the same
as absent.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]

UP = Gauge("sorbus_up", "1 while the process runs.", ["process"])

PUBLISHED = Counter("sorbus_events_published", "Change events published.", ["system", "data_type", "op"])
REJECTS = Counter("sorbus_rejects", "Source rows that could not be made canonical.", ["system", "data_type", "reason"])
COPIED = Gauge("sorbus_snapshot_records", "Records read by the initial snapshot so far.", ["system", "data_type"])
COPY_EXPECTED = Gauge(
    "sorbus_snapshot_expected_records", "Records the initial snapshot expects.", ["system", "data_type"]
)
SOURCE_LAG = Gauge("sorbus_source_lag_bytes", "What the source retains for the producer.", ["system"])
LAST_PUBLISH = Gauge("sorbus_last_publish_timestamp_seconds", "Last publishing; at first: the start.", ["system"])
LAST_CAUGHT_UP = Gauge(
    "sorbus_last_caught_up_timestamp_seconds", "When the source last had no more; at first: the start.", ["system"]
)

BUSIEST = Gauge(
    "sorbus_busiest_record_changes_per_minute",
    "Changes a minute of the record that changed most, copies aside.",
    ["system", "data_type"],
)

WEBHOOKS = Counter("sorbus_webhooks", "Webhooks, by how they were answered.", ["system", "outcome"])
WEBHOOK_EVENTS = Counter("sorbus_webhook_events", "Events in webhooks, by what became of them.", ["system", "outcome"])
WEBHOOK_SECONDS = Histogram(
    "sorbus_webhook_seconds",
    "From a webhook's headers to its answer.",
    ["system"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
INBOX_MALFORMED = Counter("sorbus_inbox_malformed", "Malformed inbox messages that were skipped.", ["system"])

LAST_POLL = Gauge(
    "sorbus_last_poll_timestamp_seconds", "Last complete poll; at first: the start.", ["system", "data_type"]
)
POLL_PERIOD = Gauge(
    "sorbus_poll_period_seconds", "The longest pause between polls by their schedule.", ["system", "data_type"]
)
POLL_SECONDS = Gauge("sorbus_poll_seconds", "How long the last complete poll took.", ["system", "data_type"])
POLL_READ = Counter("sorbus_poll_records", "Records that polls have read.", ["system", "data_type"])

DRIFT_OPEN = Gauge(
    "sorbus_drift_open",
    "Differences between a source and its accepted shape; held: records wait.",
    ["system", "data_type", "severity"],
)

DELIVERED = Counter("sorbus_events_delivered", "Change events the target has, written or already newer.", ["flow"])
DEAD_LETTERS = Counter("sorbus_dead_letters", "Events that became dead letters.", ["flow", "data_type", "reason"])
STALE = Counter(
    "sorbus_stale_events",
    "Events that changed nothing since the target has a newer version that their topic doesn't hold: no repeats.",
    ["flow"],
)
FILTERED = Counter("sorbus_filtered_events", "Events outside of the flow's condition (`where`).", ["flow"])
APPLY = Histogram(
    "sorbus_apply_seconds",
    "How long the target took for a batch.",
    ["flow"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
DELAY = Histogram(
    "sorbus_delivery_delay_seconds",
    "From the change in the source to the target having it, of each batch's oldest event.",
    ["flow"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600, 21600, 86400),
)
RETRIES = Counter("sorbus_retries", "Retried transient failures.", ["system", "flow"])
PAUSED = Gauge("sorbus_paused", "1 while the flow waits for its target to answer again.", ["flow"])
LAST_DELIVERY = Gauge("sorbus_last_delivery_timestamp_seconds", "When the target last took a batch.", ["flow"])


API_REQUESTS = Counter(
    "sorbus_api_requests",
    "Requests to an HTTP API, by the answer's class (2xx); none: no answer.",
    ["system", "method", "status"],
)
API_SECONDS = Histogram(
    "sorbus_api_seconds",
    "Response time of an HTTP API.",
    ["system"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
API_WAIT = Counter(
    "sorbus_api_wait_seconds", "Seconds that requests were held back by a system's rate limit.", ["system", "flow"]
)


class ProducerMetrics:
    """The hooks of a producer's loop."""

    def __init__(self, system: str) -> None:
        self._system = system
        self._published: dict[tuple[str, str], Counter] = {}
        self._busy: set[str] = set()
        self._source_lag = SOURCE_LAG.labels(system)
        self._last_publish = LAST_PUBLISH.labels(system)
        self._last_caught_up = LAST_CAUGHT_UP.labels(system)
        self._last_publish.set_to_current_time()
        self._last_caught_up.set_to_current_time()
        self._retries = RETRIES.labels(system, "")

    def published(self, data_type: str, *, upserts: int = 0, deletes: int = 0) -> None:
        """The bus has confirmed that many events of one data type."""
        for op, count in (("upsert", upserts), ("delete", deletes)):
            if count:
                key = data_type, op
                child = self._published.get(key)
                if child is None:
                    child = self._published[key] = PUBLISHED.labels(self._system, data_type, op)
                child.inc(count)
        self._last_publish.set_to_current_time()

    def rejected(self, data_type: str, reason: str, count: int = 1) -> None:
        """Rows that could not be made canonical; `reason` is a PermanentError's."""
        REJECTS.labels(self._system, data_type, reason).inc(count)

    def copied(self, data_type: str, records: int, expected: int) -> None:
        """Progress of a data type's initial snapshot."""
        COPIED.labels(self._system, data_type).set(records)
        COPY_EXPECTED.labels(self._system, data_type).set(expected)

    def busiest(self, counts: Mapping[str, int], seconds: float) -> None:
        """Data type -> changes of the record that changed most within so many seconds; the others rest."""
        self._busy |= counts.keys()
        for data_type in self._busy:
            BUSIEST.labels(self._system, data_type).set(counts.get(data_type, 0) * 60 / seconds)

    def source_lag(self, size: int | None) -> None:
        """What the source retains for Sorbus; None (unknown) leaves the metric unchanged."""
        if size is not None:
            self._source_lag.set(size)

    def caught_up(self) -> None:
        """The source had no more changes."""
        self._last_caught_up.set_to_current_time()
        _last_reads[""] = time.time()

    def retried(self) -> None:
        """A transient error: the loop waits and retries."""
        self._retries.inc()


class ApiMetrics:
    """The hooks of a transport, for one HTTP API system."""

    def __init__(self, system: str) -> None:
        self._system = system
        self._seconds = API_SECONDS.labels(system)

    def answered(self, method: str, status: int | None, seconds: float) -> None:
        """A request was answered, or not (None: the connection failed, or it took too long)."""
        API_REQUESTS.labels(self._system, method, "none" if status is None else f"{status // 100}xx").inc()
        self._seconds.observe(seconds)


class WebhookMetrics:
    """The hooks of the webhook service, for one system; "" for requests that match none."""

    def __init__(self, system: str) -> None:
        self._system = system
        self._seconds = WEBHOOK_SECONDS.labels(system)
        if system:  # present from the first scrape on, so that a first rejection is an increase
            WEBHOOKS.labels(system, "unsigned")
            WEBHOOKS.labels(system, "stale")
            WEBHOOKS.labels(system, "accepted")

    def answered(self, outcome: str, seconds: float) -> None:
        """A delivery was answered; `outcome` is one of a few fixed values."""
        WEBHOOKS.labels(self._system, outcome).inc()
        self._seconds.observe(seconds)

    def events(self, outcome: str, count: int) -> None:
        """Events of verified deliveries: told, unmapped or malformed."""
        if count:
            WEBHOOK_EVENTS.labels(self._system, outcome).inc(count)


_last_reads: dict[str, float] = {}


_polled: set[str] = set()
"""Data types that this process polls."""


def last_reads() -> dict[str, float]:
    """Data type -> when this process last read all changes of it, in seconds since 1970; "" for a stream.

    A poll that has nothing to do now, since it fails or isn't due, has not read its source.
    """
    return {name: at for name, at in _last_reads.items() if name or not _polled}


class PollMetrics:
    """The hooks of one data type's polls; `period` is the longest pause between two, in seconds."""

    def __init__(self, system: str, data_type: str, *, period: float) -> None:
        self._data_type = data_type
        self._last = LAST_POLL.labels(system, data_type)
        self._seconds = POLL_SECONDS.labels(system, data_type)
        self._read = POLL_READ.labels(system, data_type)
        self._last.set_to_current_time()
        _polled.add(data_type)
        POLL_PERIOD.labels(system, data_type).set(period)

    def polled(self, read: int, seconds: float) -> None:
        """A complete poll, incremental or full."""
        self._read.inc(read)
        self._seconds.set(seconds)
        self._last.set_to_current_time()
        _last_reads[self._data_type] = time.time()


class ConsumerMetrics:
    """The hooks of a consumer's loop."""

    def __init__(self, flow: str, data_type: str, target: str) -> None:
        self._flow, self._data_type, self.target = flow, data_type, target
        self._delivered = DELIVERED.labels(flow)
        self._stale = STALE.labels(flow)
        self._filtered = FILTERED.labels(flow)
        self._apply = APPLY.labels(flow)
        self._delay = DELAY.labels(flow)
        self._retries = RETRIES.labels("", flow)
        self._paused = PAUSED.labels(flow)
        self._last_delivery = LAST_DELIVERY.labels(flow)

    def delivered(self, events: int, *, seconds: float, oldest: int | None = None) -> None:
        """The target applied a batch in `seconds`; `oldest` is its earliest occurred_at (microseconds, UTC)."""
        now = time.time()
        self._delivered.inc(events)
        self._apply.observe(seconds)
        self._last_delivery.set(now)
        self._paused.set(0)
        if oldest is not None:
            self._delay.observe(max(0.0, now - oldest / 1e6))

    def stale(self, events: int) -> None:
        """Events that the target ignored as older, and that are not repeats."""
        self._stale.inc(events)

    def filtered(self, events: int) -> None:
        """Events that the flow's condition left out, or that took a record out of the target."""
        self._filtered.inc(events)

    def dead_letter(self, reason: str, count: int = 1) -> None:
        """Events that became dead letters; `reason` is a PermanentError's."""
        DEAD_LETTERS.labels(self._flow, self._data_type, reason).inc(count)

    def retried(self) -> None:
        """A transient error: the loop waits and retries."""
        self._retries.inc()

    def paused(self, is_paused: bool) -> None:
        """Whether the flow waits for its target (down, rejecting us, over its limit)."""
        self._paused.set(is_paused)
