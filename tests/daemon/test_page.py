"""The page in a real browser: what loads and what does not, live, whatever scripts call themselves."""

import contextlib
import json
import shutil
import socket

import pytest
from playwright.sync_api import sync_playwright

from tests.daemon.running import FLOW

pytestmark = pytest.mark.slow

TOKEN = "a-token-that-only-the-tests-know"
HOSTILE = "<img src=x onerror=window.caught=1><script>window.caught=1</script>\u202egnp.exe\x1b[2J"
FAILING = "from prefect import flow\n\n@flow\ndef fine():\n    pass\n\nraise ValueError({message!r})\n"
SCHEDULED = """\
from prefect import flow
from prefect.deployments import DeploymentSpec

@flow
def nightly(day: str = "today"):
    '''Build the report.'''

DeploymentSpec(flow=nightly, name="night", schedule={"cron": "30 2 * * *"})
"""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser():
    """A Chromium of this machine."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    assert program is not None, "cannot test the page: install Chromium (apt install chromium)"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def flows(place):
    """A folder that is watched, with a script that loads and one that does not."""
    folder = place / "flows"
    folder.mkdir()
    (folder / "good.py").write_text(SCHEDULED)
    (folder / "bad.py").write_text(FAILING.format(message="no such table"))
    return folder


@pytest.fixture
def watches():
    """Whether the token may see what is watched."""
    return True


@pytest.fixture
def url(place, flows, started, watches):
    """The page of a daemon that watches the folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (place / "token").touch(0o600)
    (place / "token").write_text(TOKEN)
    (place / "daemon.yaml").write_text(
        f"listen: {{port: {port}, token_file: {place}/token}}\n"
        f"peers: [{{uid: token, watch: {json.dumps(watches)}}}]\n"
        f"sources: [{{location: {flows}, every: 1}}]\n"
    )
    started("--config", place / "daemon.yaml")
    return f"http://127.0.0.1:{port}/"


@pytest.fixture
def opened(browser, url):
    """A callable: the page, with the token given. Mistakes of its own fail the test."""
    mistakes = []
    with contextlib.ExitStack() as stack:

        def opening(width=1400, scheme="light"):
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.on("pageerror", lambda error: mistakes.append(str(error)))
            page.on("console", lambda said: "Policy" in said.text and mistakes.append(said.text))
            page.goto(url)
            page.wait_for_selector("#bearer:visible")
            page.keyboard.type(TOKEN)
            page.keyboard.press("Enter")
            page.wait_for_selector("#state.live")
            return page

        yield opening
    assert mistakes == []


def card(page, name):
    """What the page says of a failing script."""
    return page.locator(f"section[aria-labelledby=failing] article:has-text('{name}')")


def entry(page, name):
    """The place of a script among the sources."""
    return page.locator(f"section[aria-labelledby=sources] details[data-id]:has-text('{name}')")


def test_a_person_sees_what_fails_and_why(opened):
    """The error, its line, and the traceback to open."""
    page = opened()
    bad = card(page, "bad.py")
    bad.locator(".error").wait_for()
    assert "ValueError: no such table" in bad.inner_text()
    assert "bad.py:7" in bad.inner_text()
    bad.locator("summary", has_text="Traceback").click()
    assert "raise ValueError" in bad.locator("pre").inner_text()
    assert page.title() == "(1) flow-loader"


def test_a_person_sees_flows_parameters_and_next_runs(opened):
    """A script opens by the keyboard, and stays open when something else changes."""
    page = opened()
    good = entry(page, "good.py")
    good.wait_for()
    good.locator("> summary").focus()
    page.keyboard.press("Enter")
    good.locator("li", has_text="deployment night").wait_for()
    text = good.inner_text()
    assert "nightly" in text
    assert "cron 30 2 * * *" in text
    assert good.locator("time").count() == 3
    good.locator("summary", has_text="flow nightly").click()
    assert "day" in good.locator("table").inner_text()


def test_changes_are_seen_as_they_come(opened, flows):
    """A script that fails after it was good keeps its last good metadata; one that is gone goes away."""
    page = opened()
    entry(page, "good.py").wait_for()
    (flows / "new.py").write_text(FLOW.format(name="fresh"))
    entry(page, "new.py").wait_for()
    (flows / "new.py").write_text(FAILING.format(message="broken now"))
    card(page, "new.py").locator("text=stale").wait_for()
    card(page, "new.py").locator(".error", has_text="broken now").wait_for()
    assert "fresh" in card(page, "new.py").inner_text()
    (flows / "new.py").unlink()
    entry(page, "new.py").wait_for(state="detached")


def test_a_manifest_is_shown_with_the_verdict_on_each_spec(opened, flows):
    """What is wrong with one, and when the other runs."""
    spec = "- {{name: {}, flow_location: ./{}, flow_runner: {{type: subprocess}}}}\n"
    text = spec.format("sound", "good.py") + spec.format("lost", "no.py")
    (flows / "deployments.yaml").write_text(text)
    page = opened()
    manifest = card(page, "deployments.yaml")
    manifest.locator("li", has_text="deployment lost").locator(".error", has_text="no such file").wait_for()
    assert "not valid" in manifest.locator("li", has_text="deployment lost").inner_text()
    assert "not valid" not in manifest.locator("li", has_text="deployment sound").inner_text()


def test_hostile_names_and_tracebacks_stay_text(opened, flows):
    """Nothing of a script is markup, nothing of it runs, and nothing hides or turns what is beside it."""
    (flows / "hostile.py").write_text(
        f"from prefect import flow\n\n@flow(name='\u202eeno', description={HOSTILE!r})\n"
        f"def f(): ...\n\nraise ValueError({HOSTILE!r})\n"
    )
    page = opened()
    bad = card(page, "hostile.py")
    bad.locator(".error").wait_for()
    assert "<img src=x onerror=window.caught=1>" in bad.inner_text()
    assert "\\u{202e}" in bad.inner_text()
    assert "\\u{1b}" in bad.inner_text()
    assert page.evaluate("window.caught") is None
    assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_it_reads_at_every_width_and_in_both_schemes(opened, width, scheme):
    """Nothing is wider than the window, and text stands out from its background."""
    page = opened(width, scheme)
    card(page, "bad.py").locator(".error").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")


def shown_to(context, url, word):
    """The page, which was given a word for the token."""
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#bearer:visible")
    page.keyboard.type(word)
    page.keyboard.press("Enter")
    return page


def test_without_the_token_there_is_nothing_to_see(browser, url):
    """The page holds no data; another word than the token is asked for again."""
    context = browser.new_context()
    with contextlib.closing(context):
        page = shown_to(context, url, "another word")
        page.wait_for_selector("#bearer:visible")
        assert "bad.py" not in page.content()


@pytest.mark.parametrize("watches", [False])
def test_a_token_that_may_not_watch_is_told_what_is_missing(browser, url):
    """The page says which key grants it, and shows nothing."""
    context = browser.new_context()
    with contextlib.closing(context):
        page = shown_to(context, url, TOKEN)
        page.wait_for_selector("#state.broken:has-text('peers.watch')")
        assert "bad.py" not in page.content()
