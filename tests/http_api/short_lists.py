"""Ways in which a list of the faulty application is cut short, with pages of ten records."""

from __future__ import annotations

import copy
from collections.abc import Callable

from starlette.responses import JSONResponse, Response

from tests.http_api.faulty import DESCRIBED, Faulty
from tests.http_api.faulty_records import Record

SIZE = 10
Cut = Callable[[Faulty], None]


def short_pages() -> Record:
    """The description's resources, with lists of `SIZE` records a page."""
    resources: Record = copy.deepcopy(DESCRIBED["resources"])
    for resource in resources.values():
        for listing in (resource["list"], resource.get("changes")):
            if listing:
                listing["pagination"]["size"] = SIZE
    return resources


def _page(faulty: Faulty, number: int, *, total: int | None = None, empty: bool = False) -> Response:
    found = sorted(faulty.contacts().values(), key=lambda one: int(one["id"]))
    part = [] if empty else found[(number - 1) * SIZE : number * SIZE]
    return JSONResponse({"contacts": part, "total": len(found) if total is None else total})


def _in_place_of(faulty: Faulty, answer: Callable[[int], Response | None]) -> None:
    """`answer` gives a page of the list, by its number; None: the application's own."""

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        is_list = method == "GET" and path == "/contacts" and "since" not in parameters
        return answer(int(parameters.get("page", "1"))) if is_list else None

    faulty.raw = raw


def _fails(faulty: Faulty) -> None:
    _in_place_of(faulty, lambda number: JSONResponse({"message": "boom"}, 500) if number == 2 else None)


def _is_refused(faulty: Faulty) -> None:
    _in_place_of(faulty, lambda number: JSONResponse({"message": "too deep"}, 403) if number == 3 else None)


def _has_a_maximum(faulty: Faulty) -> None:
    _in_place_of(faulty, lambda number: _page(faulty, number, empty=True) if number == 2 else None)


def _repeats(faulty: Faulty) -> None:
    _in_place_of(faulty, lambda number: _page(faulty, 1) if number == 2 else None)


def _disagrees(faulty: Faulty) -> None:
    _in_place_of(faulty, lambda number: _page(faulty, number, total=len(faulty.contacts()) + 5))


def _shrinks(faulty: Faulty) -> None:
    """While it is read somebody moves records to pages that have been read."""
    total = len(faulty.contacts())

    def answer(number: int) -> Response:
        found = sorted(faulty.contacts().values(), key=lambda one: int(one["id"]))
        begin = (number - 1) * SIZE + (number > 1) * 2
        return JSONResponse({"contacts": found[begin : begin + SIZE], "total": total})

    _in_place_of(faulty, answer)


def _has_no_answer(faulty: Faulty) -> None:
    _in_place_of(faulty, lambda number: Response("<html>", 200, media_type="text/html") if number == 2 else None)


CUTS: dict[str, Cut] = {
    "a page fails": _fails,
    "a page is refused": _is_refused,
    "the server has a maximum": _has_a_maximum,
    "a page is repeated": _repeats,
    "the total disagrees": _disagrees,
    "pages shrink": _shrinks,
    "a page is no JSON": _has_no_answer,
}
