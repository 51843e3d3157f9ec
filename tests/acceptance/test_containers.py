"""The demo company, each producer and consumer in its own container, on a real Docker Engine: `make test-containers`.

Containers of other vendors are left out: Kafka, registry and PostgreSQL are the test run's own, on loopback.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from ruamel.yaml import YAML

from tests.consumers.line import eventually

if TYPE_CHECKING:
    from tests.acceptance.conftest import Plant

pytestmark = pytest.mark.real

_ROOT = Path(__file__).parents[2]
_MAKE_ENGINE = _ROOT.parent / "shared" / "real" / "containers.sh"
_OURS, _BASE = "sorbus:local", "python:3.13-slim"


class Engine:
    """A Docker Engine, and the company's containers on it."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = {**os.environ, **env}
        self._files: tuple[str, ...] = ("-f", str(_ROOT / "docker-compose.yml"))

    def docker(self, *words: str, seconds: float = 120) -> str:
        """Runs a docker command; fails the test with its words."""
        done = subprocess.run(("docker", *words), env=self._env, capture_output=True, text=True, timeout=seconds)
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def is_there(self) -> bool:
        if shutil.which("docker") is None:
            return False
        return subprocess.run(("docker", "version"), env=self._env, capture_output=True).returncode == 0

    def use(self, override: Path, project: str) -> None:
        """From now on compose reads the override too, under a project name of its own."""
        self._files = ("-p", project, "-f", str(_ROOT / "docker-compose.yml"), "-f", str(override))

    def compose(self, *words: str, seconds: float = 300) -> str:
        return self.docker("compose", *self._files, *words, seconds=seconds)

    def container(self, service: str) -> str:
        return self.compose("ps", "-q", "-a", service)

    def inspect(self, service: str, template: str) -> str:
        return self.docker("inspect", "-f", template, self.container(service))

    def memory(self, services: list[str]) -> dict[str, str]:
        names = {self.container(service): service for service in services}
        lines = self.docker("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.MemUsage}}", *names)
        found = dict(line.split(" ", 1) for line in lines.splitlines())
        return {service: found[number].split(" / ")[0] for number, service in names.items()}


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The machine's engine, or one started for this run where there is a script for it."""
    if "real" not in request.config.option.markexpr:
        pytest.skip("builds an image and runs ten containers: make test-containers")
    found = Engine({})
    if found.is_there():
        yield found
        return
    if not _MAKE_ENGINE.exists():
        pytest.skip("there is no Docker Engine here: `docker version` must answer")
    folder = Path(os.environ.get("SORBUS_TEST_ENGINE") or tmp_path_factory.mktemp("engine"))
    subprocess.run(("bash", str(_MAKE_ENGINE), str(folder)), check=True, timeout=900)
    lines = (folder / "env").read_text().removeprefix("export ").split()
    yield Engine(dict(line.split("=", 1) for line in lines))
    pid = int((folder / "pid").read_text())
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not Path(f"/proc/{pid}").exists(), "the engine's end")
    for mounted in (folder / "run" / "netns").glob("*"):  # the engine leaves its network name spaces mounted
        subprocess.run(("umount", str(mounted)), check=True)


def test_a_company_in_containers_survives_a_crash_of_one(
    engine: Engine, company_plant: Plant, unique: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plant = company_plant
    services = _services()
    override = _write_override(plant, services)
    engine.use(override, unique)
    engine.compose("build", "apply", seconds=900)
    with ExitStack() as afterwards:
        afterwards.callback(lambda: engine.compose("down", "--volumes", "--timeout", "20"))
        engine.compose("up", "--detach", "--no-build", *services)
        afterwards.callback(lambda: plant.log.write_text(engine.compose("logs", "--no-color", "--tail", "5")))

        plant.wait_until(
            lambda: plant.count("reporting", "orders") == 1500, 180, lambda: engine.compose("ps", "-a", "--no-trunc")
        )
        plant.wait_until_equal(seconds=120)
        assert engine.inspect("apply", "{{.State.ExitCode}}") == "0"
        _wait_until_healthy(plant, engine, services)

        _change(plant, range(150))
        victim = "consume-order-to-reporting"
        # Not `docker kill`: the engine takes that for somebody's wish and leaves the container down.
        os.kill(int(engine.inspect(victim, "{{.State.Pid}}")), signal.SIGKILL)
        _change(plant, range(150, 300))
        plant.wait_until(
            lambda: engine.inspect(victim, "{{.RestartCount}} {{.State.Running}}") == "1 true",
            60,
            lambda: "the container was not brought back: " + engine.inspect(victim, "{{json .State}}"),
        )
        plant.wait_until_equal(seconds=120)

        report = {
            "image": _OURS,
            "megabytes": round(int(engine.docker("image", "inspect", "-f", "{{.Size}}", _OURS)) / 1e6),
            "of which base": round(int(engine.docker("image", "inspect", "-f", "{{.Size}}", _BASE)) / 1e6),
            "memory": engine.memory(services),
        }
        for service in services:
            # One after the other: ten seconds are each one's, not all ten's together on a busy machine.
            engine.compose("stop", "--timeout", "10", service)
        ends = {service: engine.inspect(service, "{{.State.ExitCode}}") for service in services}
        assert set(ends.values()) == {"0"}, f"not all stopped gently within ten seconds: {ends}"
    with capsys.disabled():
        print("\n" + json.dumps(report, indent=2))  # noqa: T201 - the figures are the point of the run


def _services() -> list[str]:
    """The long-running services that run Sorbus itself on the company's map, which has no webhooks."""
    compose = YAML(typ="safe").load((_ROOT / "docker-compose.yml").read_text())
    return [
        name
        for name, service in compose["services"].items()
        if service["image"] == _OURS
        and service["restart"] != "no"
        and "command" in service
        and "profiles" not in service
    ]


def _write_override(plant: Plant, services: list[str]) -> Path:
    """Containers on the host's network, against the test run's servers, with the plant's map."""
    wanted = ("SORBUS_KAFKA", "SORBUS_REGISTRY", "SORBUS_DATABASE", *plant.company.databases.values())
    addresses = {name: plant.env[name] for name in wanted}
    lines = ["services:"]
    once = ["apply", "first-account"]
    for service, port in zip([*once, *services], _free_ports(len(once) + len(services)), strict=True):
        env = {**addresses, "SORBUS_METRICS_HOST": "127.0.0.1", "SORBUS_METRICS_PORT": str(port)}
        lines += [
            f"  {service}:",
            "    network_mode: host",
            f"    volumes: !override [{json.dumps(f'{plant.folder}:/etc/sorbus:ro')}]",
            f"    environment: {json.dumps(env)}",
        ]
        if service == "apply":
            # The engine's own base: where registries can't be reached, no digest can be asked for.
            lines += ["    depends_on: !override {}", f"    build: {{args: {{BASE: {json.dumps(_BASE)}}}}}"]
        if service == "console":
            lines += ["    ports: !reset []", '    command: [console, --host, 127.0.0.1, --port, "0", --login]']
    file = plant.folder.parent / "override.yml"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    # The containers' user must be able to enter the test run's folders.
    for folder in (plant.folder, *plant.folder.parents[:3]):
        folder.chmod(0o755)
    return file


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in sockets]


def _change(plant: Plant, numbers: range) -> None:
    with psycopg.connect(plant.source, autocommit=True) as connection:
        for number in numbers:
            plant.company.feed.step(connection, number)


def _wait_until_healthy(plant: Plant, engine: Engine, services: list[str]) -> None:
    def states() -> dict[str, str]:
        return {service: engine.inspect(service, "{{.State.Health.Status}}") for service in services}

    plant.wait_until(lambda: set(states().values()) == {"healthy"}, 120, lambda: str(states()))
