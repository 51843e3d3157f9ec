"""`sorbus map`: check, draw and document the map."""

from __future__ import annotations

import typer

app = typer.Typer(name="map", no_args_is_help=True, help="Check, draw and document the map.")


@app.command("check")
def check_command(ctx: typer.Context) -> None:
    """Finds everything to mend in the map."""


@app.command("draw")
def draw_command(ctx: typer.Context) -> None:
    """Draws the map."""
