"""The pages of people, agents and one's own account, in a browser."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.service import Service
from tests.web.browsing import PASSWORD, Person, fill_in

pytestmark = pytest.mark.pbx


def test_people(
    service: Service, page: Page, browser_page: Callable[[], Page], tmp_path: Path
) -> None:
    """An administrator changes a person and imports agents; the person changes the password."""
    admin, name, number = Person(service, page, "admin"), f"ann-{uuid4()}", f"2001-{uuid4()}"
    admin.sign_in("/system")
    service.post("/users", {"name": name, "role": "agent", "password": PASSWORD})
    page.reload()
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_label("Role").select_option("supervisor")
    page.get_by_label("Team").fill("sales")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#person dl")).to_contain_text("supervisor")
    expect(page.locator("#person dl")).to_contain_text("sales")
    admin.assert_accessible()

    file = tmp_path / "agents.csv"
    file.write_text(f"number,name,team\n{number},Bob,sales\n,Nobody,sales\n", encoding="utf-8")
    page.goto(f"{service.url}/agents")
    page.get_by_text("Add the agents of a file").click()
    page.get_by_label("File").set_input_files(file)
    page.get_by_role("button", name="Only check the file").click()
    expect(page.get_by_text("1 agents would be added")).to_be_visible()
    expect(page.get_by_text("Line 3: the line has no number")).to_be_visible()
    expect(page.get_by_role("link", name=number, exact=True)).to_have_count(0)
    page.get_by_role("button", name="Add them").click()
    expect(page.get_by_role("link", name=number, exact=True)).to_be_visible()
    admin.assert_accessible()

    own = browser_page()
    own.goto(f"{service.url}/sign-in")
    fill_in(own, name)
    own.locator(".me summary").click()
    own.get_by_role("link", name="My account").click()
    expect(own.get_by_role("heading", name="My account")).to_be_visible()
    own.get_by_label("Present password").fill("wrong")
    own.get_by_label("New password").fill(f"another {PASSWORD}")
    own.get_by_role("button", name="Change", exact=True).click()
    expect(own.get_by_text("The old password is wrong")).to_be_visible()
    own.get_by_label("Present password").fill(PASSWORD)
    own.get_by_role("button", name="Change", exact=True).click()
    expect(own.get_by_text("The password is changed.")).to_be_visible()
    expect(own.get_by_text("this browser")).to_be_visible()
    assert admin.faults == []
