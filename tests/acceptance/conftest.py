"""A whole example company on the test run's stack, driven as people drive it: by commands, each its own process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from sorbus.ops.demo.company import DemoCompany, brightwater, fill_if_new, northwind
from sorbus.ops.embedded import Addresses

_HERE = Path(__file__).parent
_SORBUS = str(Path(sys.executable).with_name("sorbus"))
_NOBODY = 0x7FFF_FFFF
_NORTHWIND = _HERE.parents[2] / "shared" / "data" / "northwind" / "northwind.sql"


@dataclass(frozen=True)
class Difference:
    """A row that a target lacks (missing) or has though it shouldn't (unexpected)."""

    relation: str
    side: str
    line: str


class Plant:
    """A company with databases, map and topics of its own. `folder` holds map, sheets, and what its processes write."""

    def __init__(
        self,
        folder: Path,
        company: DemoCompany,
        dsns: Mapping[str, str],
        kafka: Mapping[str, str],
        prefix: str,
        sides: psycopg.Connection[tuple[object, ...]],
        differences: Path,
    ) -> None:
        self.folder, self.company, self.dsns, self.prefix = folder, company, dsns, prefix
        self.env = {
            **os.environ,
            **kafka,
            **{variable: dsns[name] for name, variable in company.databases.items()},
            "SORBUS_MAP": str(folder / "map.yaml"),
        }
        self.log = folder / "up.log"
        self._sides, self._differences = sides, differences.read_text("utf-8")

    @property
    def source(self) -> str:
        """How to connect to the system of record's database."""
        return self.dsns[self.company.source]

    def sorbus(self, *arguments: str, status: int | None = 0, seconds: float = 120) -> str:
        """Runs a command to its end and returns what it printed; fails the test on another exit status."""
        done = subprocess.run(
            [_SORBUS, *arguments], env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=seconds
        )
        told = f"sorbus {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert status is None or done.returncode == status, told
        return done.stdout

    @contextmanager
    def up(self, *options: str) -> Iterator[None]:
        """`sorbus up` while the block lasts; it must stop by itself when asked to."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [_SORBUS, "up", "--no-watch", "--base-port", "0", *options],
                env=self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) in (0, -signal.SIGTERM), f"sorbus up ended badly\n{self.last_words()}"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def kill(self, name: str) -> bool:
        """kill -9 for a process under `sorbus up` ("produce SYSTEM", "consume FLOW"); False if it is down."""
        file = self.folder / ".sorbus" / "run" / "processes.json"
        found = {entry["name"]: entry for entry in json.loads(file.read_text("utf-8"))}
        pid = found[name]["pid"]
        try:
            os.kill(pid or _NOBODY, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def execute(self, database: str, statement: str) -> None:
        """Runs SQL in one of the databases, as its own people would."""
        with psycopg.connect(self.dsns[database], autocommit=True) as connection:
            connection.execute(statement.encode())

    def count(self, database: str, table: str) -> int:
        """How many rows a table has."""
        with psycopg.connect(self.dsns[database]) as connection:
            found = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone()
        assert found is not None
        return int(str(found[0]))

    def differences(self, *relations: str) -> list[Difference]:
        """What the source and its targets disagree on just now, by SQL that owes nothing to Sorbus.

        `relations`: only in these tables, such as accounting.debtors.
        """
        found = self._sides.execute(self._differences.encode()).fetchall()
        differences = [Difference(str(relation), str(side), str(line)) for relation, side, line in found]
        return [one for one in differences if not relations or one.relation in relations]

    def wait_until_equal(self, *relations: str, seconds: float = 90) -> None:
        """Until every row of every target is as the source's rows say; fails with the first differences."""
        self.wait_until(lambda: not self.differences(*relations), seconds, self._tell_differences)

    def wait_until(self, is_so: Callable[[], bool], seconds: float, missing: Callable[[], str]) -> None:
        """Until something has come about; fails with what is missing and the processes' last words."""
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end:
                pytest.fail(f"after {seconds:.0f} s:\n{missing()}\n{self.last_words()}", pytrace=False)
            # A pause between two looks at other processes' work, so that looking doesn't slow it down.
            time.sleep(0.3)

    def last_words(self) -> str:
        """The end of what the processes printed."""
        lines = self.log.read_text("utf-8", "replace").splitlines()[-20:] if self.log.exists() else []
        return "\n".join(["The last words of the processes:", *(line[:400] for line in lines)])

    def _tell_differences(self) -> str:
        found = self.differences()
        shown = [f"{one.relation} {one.side}: {one.line[:500]}" for one in found[:12]]
        return "\n".join([f"{len(found)} differences, the first:", *shown])


MakePlant = Callable[[DemoCompany, Path], Plant]


@pytest.fixture
def make_plant(
    stack: Addresses, make_database: Callable[[str], str], unique: str, tmp_path: Path
) -> Iterator[MakePlant]:
    """Makes a company: its databases, filled, and its map with topics of its own."""
    opened: list[psycopg.Connection[tuple[object, ...]]] = []

    def make(company: DemoCompany, differences: Path) -> Plant:
        folder = tmp_path / "company"
        shutil.copytree(company.map_file.parent, folder)
        file = folder / "map.yaml"
        file.write_text(f"topic_prefix: {unique}.\n{file.read_text('utf-8')}", "utf-8")
        dsns = {name: make_database("") for name in company.databases}
        for name, fill in company.fill.items():
            fill_if_new(dsns[name], fill)
        sides = psycopg.connect(make_database((_HERE / "sides.sql").read_text("utf-8")), autocommit=True)
        opened.append(sides)
        for name, dsn in dsns.items():
            _open_side(sides, "source" if name == company.source else name, dsn)
        plant = Plant(folder, company, dsns, stack.env(), f"{unique}.", sides, differences)
        plant.sorbus("apply", "--yes")
        # Foreign tables are described once, so the targets' must be there by now.
        sides.execute("call look_at_sides()")
        return plant

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture
def northwind_plant(make_plant: MakePlant) -> Plant:
    """Northwind with its two targets, applied but not running."""
    if not _NORTHWIND.exists():
        pytest.skip("Northwind's script is not beside the checkout")
    return make_plant(northwind(_NORTHWIND), _HERE / "northwind_differences.sql")


@pytest.fixture
def company_plant(make_plant: MakePlant) -> Plant:
    """The demo company with its two targets, applied but not running."""
    return make_plant(brightwater(), _HERE / "company_differences.sql")


def _open_side(connection: psycopg.Connection[tuple[object, ...]], side: str, dsn: str) -> None:
    parts = conninfo_to_dict(dsn)
    options = [parts["host"], str(parts["port"]), parts["dbname"], parts["user"]]
    connection.execute("call open_side(%s, %s, %s, %s, %s)", [side, *options])
