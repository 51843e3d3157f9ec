"""Lists that are shorter than the application says, or in whose place it says something else: nothing is silent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.responses import JSONResponse, Response

from tests.http_api.short_lists import short_pages
from tests.producers.http.desk import Desk
from tests.producers.http.test_producer import polls_more
from tests.producers.shop import Tape


def _behind_its_maximum(answer: Response) -> Callable[[str, str, dict[str, str]], Response | None]:
    """Whatever is asked for behind the second page."""

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        return answer if path == "/contacts" and int(parameters.get("page", "1")) > 2 else None

    return raw


@pytest.mark.parametrize(
    "answer",
    [
        JSONResponse({"message": "only the first 20 records can be listed"}, 422),
        JSONResponse({"contacts": [], "total": 35}),
    ],
    ids=["refused", "empty"],
)
def test_a_list_that_ends_before_its_total_is_not_whole(desk: Desk, answer: Response) -> None:
    """Zendesk, GitHub and others show no more than so many records, and say that there are more."""
    desk.faulty.add_many([{"name": f"N{n}"} for n in range(35)])
    desk.faulty.raw = _behind_its_maximum(answer)
    desk.poll("listed", description={"resources": short_pages()})
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait(lambda: len(tape.live()) >= 20, "the first two pages")
        tape.wait(lambda: "has 35 records, and gave 20" in str(running.health.waiting()), running.health.waiting, 15)
        desk.faulty.raw = None
        tape.wait(lambda: len(tape.live()) == 35, "the rest")
        tape.wait(lambda: running.health.waiting() is None, running.health.waiting)


@pytest.mark.parametrize("is_end", [False, True])
def test_a_page_refused_as_wrong_behind_full_ones_is_the_end_only_where_the_description_says_so(
    desk: Desk, is_end: bool
) -> None:
    """Elasticsearch and HubSpot refuse what lies behind 10,000 records, and not every list has a total."""
    desk.faulty.add_many([{"name": f"N{n}"} for n in range(35)])
    desk.faulty.raw = _behind_its_maximum(JSONResponse({"message": "result window is too large"}, 400))
    resources = short_pages()
    del resources["listed"]["list"]["pagination"]["total"]
    rules = [{"status": [400], "says": "too large", "means": "gone"}] if is_end else []
    desk.poll("listed", description={"resources": resources, "errors": {"rules": rules, "message": ["message"]}})
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait(lambda: len(tape.live()) >= 20, "the first two pages")
        if is_end:
            polls_more(desk, tape, 6)
            assert running.health.waiting() is None
            return
        tape.wait(lambda: "20 records in full pages" in str(running.health.waiting()), running.health.waiting, 15)
        desk.faulty.raw = None
        tape.wait(lambda: len(tape.live()) == 35, "the rest")
        tape.wait(lambda: running.health.waiting() is None, running.health.waiting)


def test_changes_behind_a_maximum_are_asked_for_again(desk: Desk) -> None:
    faulty = desk.faulty
    faulty.order = "newest"
    faulty.add_many([{"name": f"N{n}"} for n in range(35)])
    desk.poll("contacts", description={"resources": short_pages()}, compare="never")
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait_for(desk.there())
        polls_more(desk, tape, 2)  # the first list has ended, and changes are asked for
        faulty.raw = _behind_its_maximum(JSONResponse({"message": "only the first 20 records can be listed"}, 422))
        for id in range(1, 36):
            faulty.change(str(id), city="Oulu")
        tape.wait(lambda: "the list of changes" in str(running.health.waiting()), running.health.waiting, 15)
        faulty.raw = None
        tape.wait_for(desk.there(), 15)


def test_a_list_that_says_it_has_more_and_names_no_next_page_is_not_whole(desk: Desk) -> None:
    faulty = desk.faulty
    faulty.add_many([{"name": f"N{n}"} for n in range(35)])

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if path == "/contacts/by-cursor" and "cursor" not in parameters:
            found = sorted(faulty.contacts().values(), key=lambda one: int(one["id"]))[:10]
            return JSONResponse({"contacts": found, "has_more": True, "next": None})
        return None

    faulty.raw = raw
    desk.poll("by_cursor", description={"resources": short_pages()})
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait(lambda: "but not where" in str(running.health.waiting()), running.health.waiting, 15)


@pytest.mark.parametrize("says_all", [False, True])
def test_a_list_whose_pages_nobody_described_is_not_whole_unless_the_description_says_so(
    desk: Desk, says_all: bool
) -> None:
    faulty = desk.faulty
    faulty.add_many([{"name": f"N{n}"} for n in range(35)])
    resources = short_pages()
    listing = resources["listed"]["list"]
    listing["parameters"] = {"limit": "10"}
    del listing["pagination"]
    if says_all:
        listing["pagination"] = {"style": "none"}
    desk.poll("listed", description={"resources": resources})
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait(lambda: len(tape.live()) == 10, "the first page")
        if says_all:
            many = faulty.count("GET", "/contacts")
            tape.wait(lambda: faulty.count("GET", "/contacts") > many + 2, "two more lists")
            assert running.health.waiting() is None
        else:
            tape.wait(lambda: "but not where" in str(running.health.waiting()), running.health.waiting, 15)


def test_an_error_in_place_of_the_list_with_200_is_no_empty_list(desk: Desk) -> None:
    """GraphQL and JSON-RPC answer 200 {"contacts": null, "errors": [...]} where a query fails."""
    faulty = desk.faulty
    faulty.add_many([{"name": f"N{n}"} for n in range(5)])

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if method == "GET" and path == "/contacts":
            return JSONResponse({"contacts": None, "errors": [{"message": "the database is away"}]})
        return None

    faulty.raw = raw
    desk.poll("listed")
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait(lambda: "database is away" in str(running.health.waiting()), running.health.waiting, 15)


def ask_for_the_third_page(desk: Desk, tape: Tape, answer: Response, is_answered_so: Callable[[str], bool]) -> None:
    """It, and the addresses that `is_answered_so` tells, have this answer until it was asked for four times."""
    asked: list[str] = []

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        is_third = path == "/contacts" and parameters.get("page") == "3"
        asked.extend([path] if is_third else [])
        return answer if is_third or is_answered_so(path) else None

    desk.faulty.raw = raw
    tape.wait(lambda: len(asked) > 3, lambda: f"the third page was asked for {len(asked)} times", 30)
    desk.faulty.raw = None
    desk.faulty.add_many([{"name": "last"}])
    tape.wait_for(desk.there())


def test_an_error_in_place_of_the_last_page_with_200_deletes_nothing(desk: Desk) -> None:
    """No address of their own: two lists that lack the last page delete what was on it, while its query fails."""
    faulty = desk.faulty
    faulty.add_many([{"name": f"N{n}"} for n in range(22)])
    resources = short_pages()
    for listing in (resources["unlooked"]["list"],):
        del listing["pagination"]["total"]
    desk.poll("unlooked", description={"resources": resources})
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
        answer = JSONResponse({"contacts": None, "errors": [{"message": "timeout"}]})
        ask_for_the_third_page(desk, tape, answer, lambda _: False)
        assert tape.tombstones == []


def test_a_moment_of_404_of_the_gateway_deletes_nothing(desk: Desk) -> None:
    """During a deployment nginx answers 404 for page 3 and for single records, though the total says they are there."""
    faulty = desk.faulty
    faulty.add_many([{"name": f"N{n}"} for n in range(22)])
    desk.poll("contacts", compare="every 2s", description={"resources": short_pages()})
    tape = desk.tape("contact")
    with desk.producing():
        tape.wait_for(desk.there())
        answer = Response("<html><h1>404 Not Found</h1>nginx</html>", 404, media_type="text/html")
        ask_for_the_third_page(desk, tape, answer, lambda path: path.startswith("/contacts/"))
        assert tape.tombstones == []


def test_a_list_that_shows_records_twice_and_counts_them_so_is_whole(desk: Desk) -> None:
    """A join: one row for each of a contact's addresses, of which the map takes nothing."""
    faulty = desk.faulty
    faulty.add_many([{"name": f"N{n}"} for n in range(3)])

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if method != "GET" or path != "/contacts":
            return None
        found = [one for one in faulty.contacts().values() if one["updated_at"] >= parameters.get("since", "")]
        rows = [{**one, "address": n} for one in found for n in range(2)]
        return JSONResponse({"contacts": rows, "total": len(rows)})

    faulty.raw = raw
    desk.poll("contacts")
    tape, letters = desk.tape("contact"), desk.dead_letters("contact")
    with desk.producing() as running:
        tape.wait_for(desk.there())
        lists = faulty.count("GET", "/contacts")
        tape.wait(lambda: tape.read() < 0 or faulty.count("GET", "/contacts") > lists + 3, "three polls")
        assert running.health.waiting() is None
        faulty.change("2", city="Oulu")
        tape.wait_for(desk.there())
    letters.read()
    assert not letters.letters


def test_a_list_of_changes_that_is_never_whole_goes_on_from_the_list_of_all(desk: Desk) -> None:
    """Its total is that of all records: it isn't read from the same place for ever."""
    faulty = desk.faulty
    faulty.add_many([{"name": f"N{n}"} for n in range(15)])
    since: list[str] = []

    def raw(method: str, path: str, parameters: dict[str, str]) -> Response | None:
        if method == "GET" and path == "/contacts" and "since" in parameters:
            since.append(parameters["since"])
            found = [one for one in faulty.contacts().values() if one["updated_at"] >= parameters["since"]]
            is_first = parameters.get("page", "1") == "1"
            return JSONResponse({"contacts": found[:10] if is_first else [], "total": 99})
        return None

    faulty.raw = raw
    desk.poll("contacts", compare="every 3s", description={"resources": short_pages()})
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait_for(desk.there())
        tape.wait(lambda: tape.read() < 0 or bool(since), "the first poll for changes")
        first = since[-1]
        faulty.change("2", city="Oulu")
        tape.wait_for(desk.there())

        def has_gone_on() -> bool:
            """The first change may bear the time of the poll before it."""
            if since[-1] <= first:
                faulty.change("2", city=f"Oulu {len(since)}")
            return tape.read() < 0 or since[-1] > first

        tape.wait(has_gone_on, lambda: f"polls go on after {first}", 30)
        assert "the list of changes" in str(running.health.waiting())


def test_a_list_whose_page_a_web_server_no_longer_knows_is_begun_again(desk: Desk) -> None:
    begun = 0

    def forgets_pages_once(_method: str, path: str, parameters: dict[str, str]) -> Response | None:
        nonlocal begun
        is_first = parameters.get("page", "1") == "1"
        begun += path == "/contacts" and is_first
        return None if is_first or begun > 1 else Response("404 page not found", 404, media_type="text/plain")

    desk.faulty.add_many([{"name": f"N{n}"} for n in range(35)])
    desk.faulty.raw = forgets_pages_once
    desk.poll("listed", description={"resources": short_pages()})
    tape = desk.tape("contact")
    with desk.producing() as running:
        tape.wait(lambda: len(tape.live()) == 35, lambda: (len(tape.live()), running.health.waiting()))
        tape.wait(lambda: running.health.waiting() is None, running.health.waiting)
