"""Merges the overlay into a copy of the year's map: its systems, flows and mapping rows in place of those there."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import cast

from ruamel.yaml import YAML

_YAML = YAML(typ="safe")
OVERLAY = Path(__file__).with_name("overlay")
Part = dict[str, dict[str, object]]


def lay_over(folder: Path, marker: int) -> None:
    """Changes the map in `folder` as overlay/map.yaml says. `marker`: id of Redmine's field for Sorbus's own ids."""
    file = folder / "map.yaml"
    below = _YAML.load(file)
    above = _YAML.load(OVERLAY / "map.yaml")
    replaced = below["systems"].keys() & above["systems"].keys()
    below["systems"] |= above["systems"]
    for name, changed in cast("Part", above["data_types"]).items():
        below["data_types"][name] |= changed
    below["lookups"] |= above["lookups"]
    new = {(flow["data_type"], flow["to"]) for flow in above["flows"]}
    without = {*new, *(tuple(name.split("-to-")) for name in above["without"])}
    kept = [flow for flow in below["flows"] if (flow["data_type"], flow["to"]) not in without]
    below["flows"] = [*kept, *above["flows"]]
    file.write_text(json.dumps(below, indent=1), "utf-8")
    for sheet in (folder / "mappings").glob("*.csv"):
        with sheet.open(encoding="utf-8", newline="") as opened:
            rows = [row for row in csv.reader(opened) if not {row[0], row[2]} & replaced]
        with sheet.open("w", encoding="utf-8", newline="") as opened:
            csv.writer(opened, lineterminator="\n").writerows(rows)
    shutil.copyfile(OVERLAY / "sheet.csv", folder / "mappings" / "real.csv")
    for api in (OVERLAY / "apis").glob("*.yaml"):
        text = api.read_text("utf-8").replace("MARKER", str(marker))
        (folder / "apis" / api.name).write_text(text, "utf-8")
