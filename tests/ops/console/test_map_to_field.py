"""From the map to a system, its flow, and a field's rule in plain words: by clicks and by keyboard alone."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.ops.console.browser import faults
from tests.ops.console.visitor import Served

FLOW = "customer-to-accounting"


def test_the_keyboard_leads_from_a_system_to_a_field_s_rule(console: Served, page: Page) -> None:
    page.goto(f"{console.url}/")
    page.locator("svg a[href='/systems/crm']").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("crm")
    page.get_by_role("link", name=FLOW).first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="What is changed on the way")).to_be_visible()
    page.locator(f"a[href='/flows/{FLOW}/fields/name']").focus()
    page.keyboard.press("Enter")

    expect(page.get_by_role("heading", level=1)).to_have_text("name in accounting")
    expect(page.locator("dd", has_text="unchanged")).to_be_visible()
    expect(page.locator("table")).to_contain_text("customers.name")
    page.get_by_role("link", name=FLOW).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(FLOW)


def test_the_pages_of_the_way_have_no_barriers(console: Served, page: Page) -> None:
    paths = [f"/flows/{FLOW}", f"/flows/{FLOW}/fields/name", "/checklists/customer-to-plan"]

    assert faults(console.url, page, paths) == []


def test_a_field_that_there_is_not_is_a_page_that_says_so(console: Served) -> None:
    answer = console.visitor().get(f"/flows/{FLOW}/fields/nothing")

    assert answer.status_code == 404
    assert "fills no field nothing" in answer.text
