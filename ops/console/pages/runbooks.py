"""What to do about an alert: the runbooks, at addresses that mail and chat can name."""

from __future__ import annotations

import re
from functools import cache
from http import HTTPStatus
from importlib.resources import files

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sorbus.ops.console.page_context import render

_NAME = re.compile(r"[a-z][a-z-]{0,60}|README")


def show(request: Request) -> Response:
    """One runbook, or their list."""
    name = request.path_params.get("name", "README")
    file = files("sorbus") / "runbooks" / f"{name}.md"
    if not _NAME.fullmatch(name) or not file.is_file():
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no runbook of this name")
    return render(request, "runbook.html", name=name, text=_as_html(name))


@cache
def _as_html(name: str) -> Markup:
    text = (files("sorbus") / "runbooks" / f"{name}.md").read_text("utf-8")
    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = reader.parse(text)
    for token in tokens:
        _lead_to_pages(token)
    return Markup(reader.renderer.render(tokens, reader.options, {}))  # noqa: S704  # our own text, its HTML escaped


def _lead_to_pages(token: Token) -> None:
    """Links to other runbooks lead to their pages; those to other files of the repository lead nowhere here."""
    for inner in token.children or ():
        href = inner.attrs.get("href") if inner.type == "link_open" else None
        if isinstance(href, str) and not href.startswith(("http:", "https:")):
            other = re.fullmatch(r"([a-z-]+)\.md", href)
            inner.attrs["href"] = f"/runbooks/{other[1]}" if other else "/runbooks"


routes = [
    Route("/runbooks", show, methods=["GET"]),
    Route("/runbooks/{name}", show, methods=["GET"]),
]
