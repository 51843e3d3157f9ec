"""The human-readable output of `sorbus discover`: tables, likely data types, and lines for map.yaml."""

from __future__ import annotations

import io
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from ruamel.yaml import YAML

from sorbus.abilities import Resource
from sorbus.map.authoring.discovery import Look
from sorbus.map.authoring.draft_schema import Draft
from sorbus.map.authoring.matching import Proposal

PLAIN_WIDTH = 140
"""Columns if stdout is a file or a pipe."""


def show(look: Look) -> None:
    """Prints a discovery on stdout."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=PLAIN_WIDTH)
    console.print(_resources(look.system, look.resources))
    for proposal in look.proposals:
        _proposal(console, look, proposal)
    for draft in look.drafts:
        _draft(console, draft)
    if new := {name: options for name, options in look.sources.items() if name not in look.owned_elsewhere}:
        lines = {name: {"system_of_record": look.system, "source": options} for name, options in new.items()}
        text = io.StringIO()
        YAML().dump({"data_types": lines}, text)
        console.print("\n[bold]In map.yaml that would be[/]\n")
        console.print(escape(text.getvalue()), highlight=False)


def _resources(system: str, resources: Sequence[Resource]) -> Table:
    table = Table(title=f"What {system} holds", box=box.SIMPLE_HEAD, title_justify="left", expand=False)
    table.add_column("Table", style="bold", no_wrap=True)
    table.add_column("Records", justify="right")
    table.add_column("Fields (key first, ! required)", overflow="fold")
    table.add_column("Refers to")
    for each in resources:
        rest = [f"{field.name}{'!' if field.required else ''}" for field in each.fields if field.name not in each.key]
        key = f"[bold]{escape(', '.join(each.key))}[/]" if each.key else "[red]no key[/]"
        parents = "\n".join(sorted({name for name, _ in each.parents if name != each.name}))
        count = "" if each.records is None else f"{each.records:,}"
        table.add_row(
            escape(each.name), count, "; ".join(filter(None, (key, escape(", ".join(rest))))), escape(parents)
        )
    return table


def _proposal(console: Console, look: Look, proposal: Proposal) -> None:
    owner = look.owners[proposal.data_type]
    tables = [proposal.resource.name, *(f"{each.resource} ({each.field})" for each in proposal.lists)]
    console.print(
        f"[bold]{proposal.data_type}[/] from {escape(', '.join(tables))}: {len(proposal.fields)} fields;"
        f" owner [bold]{escape(owner.system)}[/] ({escape(owner.why)})",
        highlight=False,
    )
    for path in proposal.missing:
        console.print(f"    [yellow]required, not found:[/] {escape(path)}", highlight=False)
    hinted = [f"{each.column} ({each.hint})" if each.hint else each.column for each in proposal.left_over]
    for field in proposal.fields:
        if field.notes.startswith("required, ") or "; required, " in field.notes:
            console.print(f"    [yellow]{escape(field.source)}[/]: {escape(field.notes)}", highlight=False)
    if hinted:
        console.print(f"    not mapped: {escape(', '.join(hinted))}", highlight=False)


def _draft(console: Console, draft: Draft) -> None:
    proposal = draft.proposal
    tables = [proposal.resource.name, *(f"{each.resource} ({each.field})" for each in proposal.lists)]
    console.print(
        f"[bold]{proposal.data_type}[/] from {escape(', '.join(tables))}: {len(proposal.fields)} fields; a draft:"
        f" --sheet writes schemas/{proposal.data_type}.avsc",
        highlight=False,
    )
    if not proposal.resource.key:
        console.print("    [yellow]no primary key:[/] name unique columns with `key:` in the map", highlight=False)
