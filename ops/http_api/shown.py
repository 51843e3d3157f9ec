"""Descriptions and samples as people read them in a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sorbus.http_api.values import dump_json

if TYPE_CHECKING:
    from sorbus.http_api.description import ApiField, ApiResource, Description
    from sorbus.ops.http_api.sample import Sample


def show_list(found: Iterable[Description]) -> None:
    """One line for each description."""
    table = Table("api", "application", "version", "resources", "webhooks", box=None, header_style="bold")
    for each in found:
        table.add_row(each.api, each.title, each.version, ", ".join(each.resources), "yes" if each.webhooks else "")
    Console().print(table)


def show_description(description: Description) -> None:
    """What to write into a connection, what can be done with each resource, and its fields."""
    console = Console()
    console.print(f"[bold]{escape(description.title)}[/] {escape(description.version)}\n{escape(description.docs)}\n")
    ways = [description.auth, *description.other_auth]
    facts = {
        "address": description.base_url or "the connection's base_url",
        "settings": "\n".join(f"{name}: {each.doc}" for name, each in description.settings.items()),
        "credentials": "\n".join(f"{way.kind}{f': {way.doc}' if way.doc else ''}" for way in ways),
        "limits": "\n".join(
            f"{limit.requests} in {limit.per.total_seconds():g} s"
            + (f" ({', '.join(limit.only)})" if limit.only else "")
            for limit in description.limits
        ),
        "webhooks": description.webhooks.signature if description.webhooks else "",
    }
    about = Table(box=None, show_header=False)
    for name, text in facts.items():
        if text:
            about.add_row(name, escape(text))
    console.print(about)
    for name, resource in description.resources.items():
        console.print(f"\n[bold]{name}[/]: {', '.join(_can(resource))}")
        fields = Table("field", "kind", "", "", box=None, header_style="dim", padding=(0, 2, 0, 2))
        for path, field in resource.fields.items():
            fields.add_row(escape(path), field.kind, ", ".join(_facts(field)), escape(field.doc))
        console.print(fields)


def show_sample(sample: Sample) -> None:
    """The raw record and the canonical one side by side."""
    table = Table("raw", sample.data_type or "canonical", header_style="bold", expand=True)
    right = sample.why_not if sample.canonical is None else _pretty(sample.shown())
    table.add_row(escape(_pretty(sample.raw)), escape(right))
    Console().print(table)
    for warning in sample.warnings:
        Console(stderr=True).print(f"[yellow]{escape(warning)}[/]")


def _pretty(value: object) -> str:
    text = dump_json(value)
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False)


def _can(resource: ApiResource) -> Iterator[str]:
    if resource.list:
        yield "list"
    if resource.changes:
        yield "list what changed"
    yield from (name for name in ("get", "create", "update", "delete") if getattr(resource, name))
    if resource.search:
        yield f"search by {', '.join(resource.search)}"


def _facts(field: ApiField) -> Iterator[str]:
    yield from (name for name in ("required", "read_only", "write_only", "once") if getattr(field, name))
    if field.largest:
        yield f"at most {field.largest}"
    if field.values:
        yield "|".join(field.values)
