"""`python -m bench.pictures`: draws a run of `python -m bench` as SVG files beside its JSON. Needs `pip install pygal`.

examples:
  python -m bench.pictures                          the newest run that is kept: bench/newest/run.json
  python -m bench.pictures bench/results/RUN.json

Throughput over time, percentiles of each latency, memory over time.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import pygal
from pygal.style import CleanStyle

from bench import usage

NEWEST = Path(__file__).parent / "newest" / "run.json"
Points = list[tuple[float, float]]


def draw(run: Path) -> list[Path]:
    """Draws what a run's JSON has curves of; the files."""
    content = json.loads(run.read_text())
    curves: dict[str, dict[str, Points]] = {}
    for each in content["curves"]:
        points = [(float(x), float(y)) for x, y in json.loads(each["points"])]
        curves.setdefault(each["measure"], {})[each["contender"]] = points
    drawn = []
    for measure, of in curves.items():
        if measure == "memory":
            drawn.append(_chart(run, "memory", "Memory of its own processes while rows are waited for", "s", "MiB", of))
        elif measure == "end to end":
            drawn.append(
                _chart(run, "throughput", "Rows of one update that are in the target", "s after the commit", "%", of)
            )
        else:
            title = measure[0].upper() + measure[1:]
            drawn.append(_chart(run, _file(measure), title, "percentile", "ms", of))
    return drawn


def _chart(
    run: Path, name: str, title: str, x: str, y: str, lines: Mapping[str, Iterable[tuple[float, float]]]
) -> Path:
    chart = pygal.XY(
        title=title, x_title=x, y_title=y, show_dots=False, style=CleanStyle, width=900, height=420, js=(),
        disable_xml_declaration=True, legend_at_bottom=True, include_x_axis=True,
    )  # fmt: skip
    chart.uuid = name  # else another one each time
    for contender, points in lines.items():
        chart.add(contender, list(points))
    file = run.with_name(f"{name}.svg")
    file.write_text(chart.render(is_unicode=True) + "\n")
    return file


def _file(measure: str) -> str:
    return "".join(one if one.isalnum() else "-" for one in measure.replace(",", "").replace("/s", " a second")).lower()


def main() -> None:
    """Read the command line and draw."""
    parser = usage.parser("bench.pictures", __doc__)
    parser.add_argument("run", nargs="?", type=Path, default=NEWEST, help="a run's JSON (default: the newest kept)")
    for file in draw(parser.parse_args().run):
        print(file)


if __name__ == "__main__":
    main()
