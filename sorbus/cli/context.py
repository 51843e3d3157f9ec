"""What every command gets from the global options: the map and the verbosity."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sorbus.errors import MapError

if TYPE_CHECKING:
    from sorbus.map.loaded import LoadedMap


CHECKED = "SORBUS_MAP_CHECKED"


@dataclass(frozen=True, slots=True)
class Context:
    """The global options, as `typer.Context.obj`."""

    map_path: Path = Path("map.yaml")
    verbose: bool = False
    quiet: bool = False

    @classmethod
    def of(cls, ctx: typer.Context) -> Context:
        """The context of a running command, typed."""
        found = ctx.find_object(cls)
        return found if found is not None else cls()

    def load(self) -> LoadedMap:
        """The map as written; MapError if it can't be read at all."""
        from sorbus.map.load import load_map

        return load_map(self.map_path)

    def load_sound(self) -> LoadedMap:
        """The map, for commands that act on it; MapError with every finding that prevents running it.

        A parent process that has checked this very map (`sorbus up`) passes its digest in SORBUS_MAP_CHECKED.
        """
        loaded = self.load()
        if os.environ.get(CHECKED) == loaded.digest:
            return loaded
        from sorbus.map.checks.check import check_to_run

        if not self.quiet:
            for notice in loaded.notices:
                typer.echo(notice, err=True)
        if findings := check_to_run(loaded):
            raise MapError(findings)
        return loaded
