"""The console in a real browser: by keyboard, without JavaScript, on a small screen, up to date, for everybody."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from confluent_kafka import Producer
from confluent_kafka.admin import NewTopic
from playwright.sync_api import Browser, Page, Route, expect

from sorbus.bus.kafka import admin, base_config
from sorbus.bus.names import Names
from sorbus.map.loaded import LoadedMap
from sorbus.ops.console.access.accounts import Accounts, Sessions
from sorbus.ops.console.access.authenticators import AccountAuth
from sorbus.ops.console.access.user import Role
from sorbus.ops.embedded import Addresses
from sorbus.settings import Settings
from sorbus.state import State
from tests.ops.console.browser import crawl, faults
from tests.ops.console.conftest import Serve
from tests.ops.console.visitor import Served
from tests.topics import make_topics

PASSWORD = "three quiet rowan trees"


def test_every_page_that_links_lead_to_is_accessible_and_shows_no_secret(
    console: Served, page: Page, database: str
) -> None:
    """Light and dark, wide and narrow: axe-core finds nothing serious, and nothing has to be scrolled sideways."""
    assert faults(console.url, page, crawl(console.url, page, without=database)) == []


def test_the_keyboard_reaches_everything_from_the_start(console: Served, page: Page) -> None:
    page.goto(console.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Measure now")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Measuring now.")


def test_without_javascript_everything_can_be_read_and_done(console: Served, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(console.url)
    page.get_by_role("button", name="Measure now").click()
    expect(page.get_by_role("status")).to_have_text("Measuring now.")
    page.get_by_role("row").get_by_role("link", name="customer-to-accounting").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("customer-to-accounting")
    context.close()


def test_an_open_page_shows_a_new_dead_letter_by_itself(
    console: Served, page: Page, stack: Addresses, loaded: LoadedMap
) -> None:
    settings, names = Settings(kafka=stack.kafka), Names(loaded.map.topic_prefix)
    topic = names.dead_letters("customer")
    page.goto(console.url)
    dead = page.locator(".figure", has_text="Dead letters").locator("dd")
    expect(dead).to_have_text("0", timeout=20_000)
    marked = page.evaluate("window.untouched = true")
    client = admin(settings)
    make_topics(client, NewTopic(topic, 1, 1))
    producer = Producer(base_config(settings, "test"))
    producer.produce(topic, b"letter", key=b"a", headers=[("sorbus.flow", b"customer-to-accounting")])
    producer.flush(30)
    expect(dead).to_have_text("1", timeout=20_000)
    assert page.evaluate("window.untouched") == marked, "the page was loaded again instead"


@pytest.mark.parametrize("answer", [None, 500, 502, 503])
def test_a_page_that_is_not_kept_up_to_date_says_so(console: Served, browser: Browser, answer: int | None) -> None:
    page = browser.new_page()  # not the fixture's, which allows no failed request
    page.goto(console.url)
    note = page.get_by_text("The console is not responding.")
    expect(note).to_be_hidden()

    def fail(route: Route) -> None:
        if answer is None:
            route.abort()
        else:
            route.fulfill(status=answer, body="no")

    page.route("**/*", fail)
    page.evaluate("document.body.dispatchEvent(new Event('changed'))")
    expect(note).to_be_visible()
    page.unroute("**/*")
    page.evaluate("document.body.dispatchEvent(new Event('changed'))")
    expect(note).to_be_hidden()
    page.close()


def test_a_live_part_leaves_the_focus_where_it_is(console: Served, page: Page) -> None:
    page.goto(console.url)
    link = page.get_by_role("row").get_by_role("link", name="customer-to-accounting")
    expect(link).to_be_visible(timeout=20_000)
    link.focus()
    page.evaluate(  # where a key would go that is pressed as soon as the part is there
        "document.getElementById('now').setAttribute('data-old', '');"
        "document.addEventListener('htmx:afterSwap', () => window.keys = document.activeElement.textContent)"
    )
    expect(page.locator("#now[data-old]")).to_have_count(0, timeout=20_000)
    expect(link).to_be_focused()
    assert page.evaluate("window.keys") == "customer-to-accounting"


def test_people_log_in_and_out(serve: Serve, state: State, page: Page) -> None:
    Accounts(state).add("mara", Role.operator, PASSWORD, "root")
    served = serve(authenticator=AccountAuth(Sessions(state)))
    page.goto(f"{served.url}/flows/customer-to-accounting")
    page.get_by_label("Account").fill("mara")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("customer-to-accounting")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    assert Axe().run(page).violations_count == 0
    page.go_back()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")


def test_what_a_map_says_is_text_and_never_a_script(serve: Serve, page: Page) -> None:
    served = serve()
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    for path in ("/", "/flows/customer-to-plan", "/flows/customer-to-accounting/fields/name", "/systems/crm"):
        page.goto(served.url + path)
        assert page.locator("img[src='x']").count() == 0, path
    expect(page.locator("dd", has_text="<img src=x onerror=alert(1)>").first).to_be_visible()
