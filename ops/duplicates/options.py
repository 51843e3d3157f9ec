"""What the commands about duplicates have in common."""

from __future__ import annotations

from typing import Annotated

import typer

Number = Annotated[int, typer.Argument(metavar="ID", help="The candidate's number in `sorbus duplicates list`.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the decision.")]
Who = Annotated[str, typer.Option("--by", envvar="SORBUS_USER", help="Who decides; else who is logged in.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON, one object a line.")]
