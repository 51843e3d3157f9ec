"""What a run does and what it yields: the course, single figures, and CPU clocks turned into microseconds a row."""

import os
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.processes import cpu_seconds, machine_cpu_seconds
from bench.servers import Servers


@dataclass(frozen=True, slots=True)
class Course:
    """How much is measured."""

    rows: int = 200_000
    rounds: int = 3
    updates: int = 2
    rates: tuple[int, ...] = (200, 2_000)
    sizes: tuple[tuple[int, int], ...] = ((10, 2_000), (100, 5_000))
    """Small transactions: rows of each, rows a second."""
    hot: tuple[int, int] | None = (10, 500)
    """How many customers are updated again and again, updates a second."""
    seconds: float = 10.0
    limit: float = 300.0


# What a contender's own processes take together, servers left out: the figure that can be compared.
OWN = "its own processes"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value: whose, in which round, of what."""

    contender: str
    round: int
    measure: str
    value: float
    unit: str


@dataclass(frozen=True, slots=True)
class Curve:
    """What bench.pictures draws: whose, of what, and (x, y) points."""

    contender: str
    measure: str
    points: tuple[tuple[float, float], ...]


@dataclass(slots=True)
class Notebook:
    """The figures of one contender in one round, as they come; curves of the first round."""

    contender: str
    round: int
    figures: list[Figure] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def note(self, measure: str, value: float, unit: str) -> None:
        self.figures.append(Figure(self.contender, self.round, measure, value, unit))

    def draw(self, measure: str, points: Iterable[tuple[float, float]], start: float = 0.0) -> None:
        """Keep a curve; `start` is taken off each x."""
        if self.round == 0:
            told = tuple((round(x - start, 3), round(y, 4)) for x, y in points)
            self.curves = [each for each in self.curves if each.measure != measure] + [
                Curve(self.contender, measure, told)
            ]

    def note_peaks(self, peaks: Mapping[str, int]) -> None:
        """Note each process's highest memory, in bytes, and their sum."""
        for name, peak in {**peaks, OWN: sum(peaks.values())}.items():
            self.note(f"peak memory, {name}", peak / 2**20, "MiB")

    @contextmanager
    def cpu_per_row(
        self, stage: str, rows: int, servers: Servers, processes: Callable[[], Mapping[str, int]]
    ) -> Iterator[None]:
        """Note, for what runs inside, the CPU of each process per row, and what strangers took of the machine.

        `processes` gives the contender's own by name; it is asked before and after, for one may start in between.
        """
        pids = servers.pids()
        began, machine, house = time.monotonic(), machine_cpu_seconds(), cpu_seconds(os.getpid(), *pids.values())
        before = {name: cpu_seconds(pid) for name, pid in (pids | dict(processes())).items()}
        yield
        own = dict(processes())
        used = {name: (cpu_seconds(pid) - before.get(name, 0.0)) / rows * 1e6 for name, pid in (own | pids).items()}
        for name, each in used.items():
            self.note(f"cpu {stage}, {name}", each, "us/row")
        if own:
            self.note(f"cpu {stage}, {OWN}", sum(used[name] for name in own), "us/row")
        strangers = machine_cpu_seconds() - machine - (cpu_seconds(os.getpid(), *pids.values()) - house)
        self.note(f"strangers {stage}", max(0.0, strangers) / (time.monotonic() - began), "cores")


def medians(figures: Iterable[Figure]) -> dict[str, dict[str, tuple[float, str]]]:
    """measure -> contender -> (median over all rounds, unit), both in order of first appearance."""
    values: dict[str, dict[str, list[Figure]]] = {}
    for figure in figures:
        values.setdefault(figure.measure, {}).setdefault(figure.contender, []).append(figure)
    return {
        measure: {
            contender: (statistics.median(figure.value for figure in found), found[0].unit)
            for contender, found in of_measure.items()
        }
        for measure, of_measure in values.items()
    }
