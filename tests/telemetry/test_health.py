"""Health: alive and ready are two questions, both answered with a reason."""

from __future__ import annotations

import httpx

from sorbus.telemetry.health import Health, HealthServer


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_process_is_alive_but_not_ready_until_it_says_so() -> None:
    health = Health()
    with HealthServer(health, process="test", port=0) as server, _client(server) as http:
        assert http.get("/healthz/live").status_code == 200
        starting = http.get("/healthz/ready")
        assert starting.status_code == 503
        assert starting.text.startswith("starting (since 20")
        health.ready()
        assert http.get("/healthz/ready").status_code == http.get("/healthz").status_code == 200
        health.ready("the target accounting can't be reached: connection refused")
        assert http.get("/healthz").text.startswith(
            "the target accounting can't be reached: connection refused (since "
        )


def test_every_dependency_that_is_missing_is_named_and_ready_is_only_who_has_all() -> None:
    health = Health()
    with HealthServer(health, process="test", port=0) as server, _client(server) as http:
        health.ready()
        was_ready = health.status()
        assert was_ready.ready
        health.block("kafka", "Kafka can't be reached")
        health.ready("books can't be reached")
        health.block("kafka", "Kafka can't be reached at kafka:9092")
        told = http.get("/healthz/status").json()
        assert (told["process"], told["ready"]) == ("test", False)
        assert told["reason"] == "Kafka can't be reached at kafka:9092; books can't be reached"
        assert told["since"] >= was_ready.since.isoformat(timespec="seconds")
        assert 'sorbus_ready{process="test"} 0.0' in http.get("/metrics").text
        assert (
            "reason=\"Kafka can't be reached at kafka:9092; books can't be reached\"} 1.0" in http.get("/metrics").text
        )
        health.ready()
        assert http.get("/healthz/ready").status_code == 503
        health.unblock("kafka")
        assert http.get("/healthz/ready").text == "ok\n"
        assert 'sorbus_ready{process="test"} 1.0' in http.get("/metrics").text
        assert "sorbus_not_ready{" not in http.get("/metrics").text


def test_a_loop_that_stopped_beating_counts_as_stuck() -> None:
    clock = Clock()
    health = Health(stale_after=30, clock=clock)
    health.ready()
    with HealthServer(health, process="test", port=0) as server, _client(server) as http:
        clock.now += 29
        assert http.get("/healthz/live").status_code == 200
        clock.now += 20
        stuck = http.get("/healthz/live")
        assert stuck.status_code == 503
        assert "49 s (allowed: 30 s)" in stuck.text
        health.beat()
        assert http.get("/healthz/live").status_code == 200


def test_metrics_are_on_the_same_port() -> None:
    with HealthServer(Health(), process="metrics-test", port=0) as server, _client(server) as http:
        answer = http.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        assert 'sorbus_up{process="metrics-test"} 1.0' in answer.text
        assert "process_resident_memory_bytes" in answer.text


def test_an_unknown_path_says_which_ones_there_are() -> None:
    with HealthServer(Health(), process="test", port=0) as server, _client(server) as http:
        answer = http.get("/nothing")
        assert answer.status_code == 404
        assert "/healthz/ready" in answer.text


def _client(server: HealthServer) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=5, trust_env=False)
