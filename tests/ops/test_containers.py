"""The container files as written: they run exactly what the example map needs, with no more rights than that."""

from __future__ import annotations

import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from psycopg.pq import Conninfo
from ruamel.yaml import YAML

import sorbus
from sorbus.mapfile.model import Map

ROOT = Path(sorbus.__file__).parents[1]
COMPOSE: dict[str, Any] = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "sorbus:local"}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def needed() -> set[tuple[str, ...]]:
    """The long-running commands that the example's map needs."""
    company = Map.model_validate(YAML(typ="safe").load((ROOT / "examples" / "company" / "map.yaml").read_text()))
    return {
        ("console",),
        ("watch",),
        *(("produce", system) for system in company.systems if company.owned_by(system)),
        *(("consume", flow.id) for flow in company.flows if flow.runs),
    }


def test_every_producer_and_consumer_of_the_map_has_a_container_of_its_own(needed: set[tuple[str, ...]]) -> None:
    run = [
        tuple(itertools.takewhile(lambda word: not word.startswith("-"), service["command"]))
        for service in OURS.values()
        if service["restart"] == "unless-stopped" and "command" in service and "profiles" not in service
    ]
    assert sorted(run) == sorted(needed)
    for name, service in OURS.items():
        if service.get("command", [""])[0] in ("produce", "consume"):
            assert name == "-".join(service["command"])


def test_prometheus_knows_every_one_of_them(needed: set[tuple[str, ...]]) -> None:
    targets = json.loads((ROOT / "ops" / "prometheus" / "targets" / "company.json").read_text())
    known = {tuple(entry["labels"]["process"].split()): entry["targets"] for entry in targets}
    assert known == {command: [f"{'-'.join(command)}:9400"] for command in needed}


@pytest.mark.parametrize("name", OURS)
def test_a_sorbus_container_has_no_more_rights_than_it_needs(name: str) -> None:
    service = OURS[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert not {"privileged", "user", "network_mode"} & service.keys()
    assert "ports" not in service or name in ("console", "webhooks")
    assert all(volume.endswith(":ro") for volume in service["volumes"])


def test_the_image_is_built_once_and_never_looked_for_elsewhere() -> None:
    assert [name for name, service in SERVICES.items() if "build" in service] == ["apply"]
    assert {service["pull_policy"] for service in OURS.values()} == {"never"}


def test_images_of_others_are_pinned() -> None:
    without_digest = {name for name, service in SERVICES.items() if "@" not in service["image"]} - OURS.keys()
    assert without_digest == {"registry", "postgres"}, "docker-compose.yml says why"
    digests = [service["image"].partition("@")[2] for service in SERVICES.values() if "@" in service["image"]]
    digests += re.findall(r"^ARG BASE=\S+@(\S+)$", DOCKERFILE, re.MULTILINE)
    assert len(digests) == 5
    assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in digests)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}"] * 2


@pytest.mark.parametrize(("name", "port"), [("console", 9490), ("webhooks", 9480)])
def test_what_people_and_applications_reach_is_reached_without_a_proxy(name: str, port: int) -> None:
    assert OURS[name]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert OURS[name]["command"][1:] == ["--host", "0.0.0.0"]
    prometheus = YAML(typ="safe").load((ROOT / "ops" / "prometheus" / "prometheus.yml").read_text())
    (job,) = prometheus["scrape_configs"]
    static = (ROOT / "ops" / "prometheus" / "targets" / "company.json").read_text()
    assert f"{name}:9400" in static or [name] in [found["names"] for found in job["dns_sd_configs"]]


def test_grafana_tells_alertmanager_and_its_runbooks_are_addresses() -> None:
    folder = ROOT / "ops" / "grafana" / "provisioning" / "alerting"
    rules, points = (
        YAML(typ="safe").load((folder / f"{name}.yml").read_text()) for name in ("rules", "contact-points")
    )
    (point,), (policy,) = points["contactPoints"], points["policies"]
    assert policy["receiver"] == point["name"]
    assert [one["settings"]["url"] for one in point["receivers"]] == ["http://alertmanager:9093"]
    books = [rule["annotations"]["runbook_url"] for group in rules["groups"] for rule in group["rules"]]
    assert books
    for book in books:
        console, _, name = book.partition("/runbooks/")
        assert console == "http://localhost:9490"
        assert (ROOT / "docs" / "runbooks" / f"{name}.md").exists()


def test_nothing_is_open_to_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_everything_waits_until_apply_has_succeeded() -> None:
    for name, service in OURS.items():
        if name != "apply":
            assert service["depends_on"]["apply"]["condition"] == "service_completed_successfully", name


def test_every_secret_of_the_map_is_given_to_every_container() -> None:
    wanted = set(re.findall(r"\$\{(\w+)\}", (ROOT / "examples" / "company" / "map.yaml").read_text()))
    for name, service in OURS.items():
        assert wanted <= service["environment"].keys(), name


def test_whoever_links_to_the_console_is_told_its_address() -> None:
    """The console, and the watch, which tells it to Prometheus for the alerts."""
    addresses = {OURS[name]["environment"].get("SORBUS_CONSOLE_URL") for name in ("console", "watch")}
    assert addresses == {"${SORBUS_CONSOLE_URL:-http://localhost:9490}"}


@pytest.mark.parametrize("password", ["p@ss/w:rd#1", 'it\'s % \\ "quoted" $HOME', "for-this-machine-only"])
def test_any_password_reaches_the_databases(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As libpq, which Sorbus connects with, reads what a container is given."""
    given = COMPOSE["x-sorbus"]["environment"]
    found = {name: re.sub(r"\$\{SORBUS_PASSWORD:-[^}]*\}", lambda _: password, value) for name, value in given.items()}
    monkeypatch.setenv("PGPASSWORD", found["PGPASSWORD"])
    dsns = [value for value in found.values() if value.startswith("postgresql:")]
    assert len(dsns) == 4
    for dsn in dsns:
        read = {
            each.keyword: each.val or os.environ.get((each.envvar or b"").decode(), "").encode()
            for each in Conninfo.parse(dsn.encode())
        }
        assert (read[b"host"], read[b"user"], read[b"password"]) == (b"postgres", b"sorbus", password.encode())


def test_every_mounted_file_exists() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())]
    assert [path for path in mounted if path.startswith("./") and not (ROOT / path).exists()] == []


def test_memory_and_restarts_are_bounded_for_all() -> None:
    assert [name for name, service in SERVICES.items() if "mem_limit" not in service or "restart" not in service] == []


def test_the_image_runs_as_nobody_special_and_says_whether_it_is_alive() -> None:
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    assert "/healthz/live" in DOCKERFILE
    assert DOCKERFILE.count("\nFROM ") + DOCKERFILE.startswith("FROM ") == 2
    assert "--require-hashes" in DOCKERFILE


def test_the_images_packages_are_those_of_the_lock_and_nothing_beyond() -> None:
    def pinned(file: Path) -> set[str]:
        return set(re.findall(r"^([a-z0-9-]+==[^ ;\\]+)", file.read_text(), re.MULTILINE))

    image = pinned(ROOT / "ops" / "containers" / "requirements.lock")
    assert image
    assert image <= pinned(ROOT / "requirements.lock")
    assert "://" not in (ROOT / "ops" / "containers" / "requirements.lock").read_text()


def test_only_what_the_image_is_made_of_is_sent_to_the_engine() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    }
    assert copied - {"ops/containers/requirements.lock"} == kept
    # The package is made of the top-level folders, by links: all of them are needed to build it.
    links = {link.readlink().name for link in (ROOT / "sorbus").iterdir() if link.is_symlink()}
    assert {Path(word).name for word in kept} >= links
