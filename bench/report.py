"""What a reader sees of a run: one table of medians with ratios, and the same as JSON with every single figure."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.figures import Curve, Figure, medians

OURS, PEER, CEILING, RAW = "Sorbus", "Debezium", "ceiling", "raw limits"
_OTHERS = (PEER, CEILING, RAW)
RULED = "Sorbus with ten rules"
PARTED = {number: f"Sorbus, {number} partitions" for number in (2, 4, 8)}
# A machine that others used for more than this many cores in a measurement isn't ours alone: said below the table.
CROWDED = 0.25
# A latency at a rate that wasn't kept is another rate's latency.
REACHED = 0.95
CHAPTERS = {
    "Speed": ("initial snapshot", "end to end", "capture", "sink", "warm-up"),
    "Latency, commit to visible": ("latency",),
    "CPU": ("cpu end to end", "cpu capture", "cpu sink", "cpu latency"),
    "Memory": ("peak memory",),
    "Proof": ("target equals source",),
}


@dataclass(frozen=True, slots=True)
class Report:
    """One run: when, where, how, and what came out."""

    began: str
    commit: str
    course: dict[str, Any]
    facts: dict[str, str]
    figures: Sequence[Figure]
    words: Sequence[str]
    failures: Sequence[str]
    curves: Sequence[Curve] = ()

    def as_json(self) -> str:
        """Everything, single figures included."""
        ratios = {
            measure: {name: round(value, 3) for name, value in _ratios(of).items()}
            for measure, of in medians(self.figures).items()
        }
        curves = [{**asdict(each), "points": json.dumps(each.points)} for each in self.curves]  # a line each
        content = {
            **asdict(self),
            "curves": curves,
            "medians": _plain(self.figures),
            "ratios": {k: v for k, v in ratios.items() if v},
        }
        return json.dumps(content, indent=1, ensure_ascii=False) + "\n"

    def as_markdown(self) -> str:
        """The table of medians."""
        found = medians(self.figures)
        names = [
            name
            for name in (PEER, CEILING, RAW, OURS, *PARTED.values(), RULED)
            if any(name in of for of in found.values())
        ]
        rounds = 1 + max((figure.round for figure in self.figures), default=0)
        lines = [
            f"# Bench of {self.began}",
            "",
            f"Commit {self.commit}; {self.course['rows']:,} rows; medians of {rounds} interleaved rounds. "
            "Ratios are Sorbus's figure over the other's.",
        ]
        for title, begins in CHAPTERS.items():
            rows = {measure: of for measure, of in found.items() if measure.startswith(begins)}
            if rows:
                lines += ["", f"## {title}", "", *_table(rows, names)]
        lines += ["", "## Where", ""]
        lines += [*(f"- {name}: {value}" for name, value in self.facts.items())]
        crowded = {
            f"{figure.contender} round {figure.round + 1}, {figure.measure}: {figure.value:.1f} cores"
            for figure in self.figures
            if figure.measure.startswith("strangers") and figure.value > CROWDED
        } | {
            f"{figure.contender} round {figure.round + 1}, {figure.measure}: {figure.value:.0%}"
            for figure in self.figures
            if figure.measure.endswith("rate reached") and figure.value < REACHED
        }
        if crowded:
            lines += ["", "**Others used this machine meanwhile, or it couldn't keep the pace, so don't quote:**", ""]
            lines += [f"- {line}" for line in sorted(crowded)]
        if self.failures:
            lines += ["", "**Not measured:**", "", *(f"- {failure}" for failure in self.failures)]
        return "\n".join(lines) + "\n"


def _table(rows: dict[str, dict[str, tuple[float, str]]], names: Sequence[str]) -> list[str]:
    """One line a measure: each contender's median, the unit, our ratios."""
    lines = [
        f"| measure | {' | '.join(names)} | unit | to Debezium | to the ceiling | to the raw limits |",
        f"| --- |{' ---: |' * len(names)} --- | ---: | ---: | ---: |",
    ]
    for measure, of in rows.items():
        cells = [_number(of[name][0]) if name in of else "-" for name in names]
        against = _ratios(of)
        ratios = [f"{against[name]:.2f}" if name in against else "-" for name in _OTHERS]
        unit = next(iter(of.values()))[1]
        lines.append(f"| {measure} | {' | '.join(cells)} | {unit} | {' | '.join(ratios)} |")
    return lines


def _plain(figures: Sequence[Figure]) -> dict[str, dict[str, float]]:
    return {measure: {name: value for name, (value, _) in of.items()} for measure, of in medians(figures).items()}


def _ratios(of: dict[str, tuple[float, str]]) -> dict[str, float]:
    """Ours over theirs, for each of theirs that was measured."""
    return {name: of[OURS][0] / of[name][0] for name in _OTHERS if OURS in of and name in of and of[name][0]}


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> dict[str, str]:
    """What the figures were taken on."""
    processor = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return {
        "machine": f"{os.cpu_count()} x {processor}, {memory:.0f} GiB",
        "python": platform.python_version(),
        "linux": platform.release(),
    }
