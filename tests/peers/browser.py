"""A real browser: Debian's Chromium, driven by Playwright in a thread of its own.

What is done in it blocks, and waits by conditions. Whatever the page reports as an error, and each
request that it makes elsewhere, is kept: a page that works has none.
"""

import importlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, TypeVar

from twisted.internet.threads import deferToThread

from tests.peers.require import require, unavailable

T = TypeVar("T")
PACKAGES = {"playwright": "playwright", "axe_playwright_python": "axe-playwright-python"}
TIMEOUT = 20_000.0
WIDE, NARROW = (1280, 900), (360, 740)


class Visit:
    """One page in one window, open to the end of what is done with it.

    :ivar page: Playwright's ``Page``.
    :ivar errors: what its console and its scripts reported, and requests to other sites.
    """

    def __init__(self, page: Any, site: str) -> None:
        self.page = page
        self.errors: list[str] = []
        self._site = site
        page.set_default_timeout(TIMEOUT)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._request)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _request(self, request: Any) -> None:
        if not request.url.startswith(self._site):
            self.errors.append(f"asks {request.url}")

    def until(self, condition: str, argument: object = None) -> None:
        """Return once the JavaScript function ``condition`` is true in the page."""
        self.page.wait_for_function(condition, arg=argument)

    def text(self, selector: str) -> str:
        """What stands there."""
        return str(self.page.locator(selector).inner_text()).strip()

    def number(self, selector: str) -> int:
        """The number that stands there."""
        return int(self.text(selector).replace(",", ""))

    def focus(self) -> str:
        """What has the focus: its id, or its text."""
        found = "document.activeElement"
        return str(self.page.evaluate(f"{found}.id || {found}.textContent.trim()"))

    def barriers(self) -> list[str]:
        """What axe-core finds that is serious or critical."""
        axe = importlib.import_module("axe_playwright_python.sync_playwright").Axe()
        return [
            f"{found['id']}: {found['nodes'][0]['html']}"
            for found in axe.run(self.page).response["violations"]
            if found["impact"] in ("serious", "critical")
        ]

    def sideways(self) -> int:
        """How many pixels of the page are beside its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


async def visit(
    site: str,
    work: Callable[[Visit], T],
    size: tuple[int, int] = WIDE,
    **window: object,
) -> T:
    """What ``work`` gives of the page at ``site``; it runs in a thread.

    :param window: more of Playwright's ``new_context``.
    """
    [program] = require("chromium")
    for module, package in PACKAGES.items():
        if find_spec(module) is None:
            unavailable(f"needs the Python package: {package}")
    return await deferToThread(_visit, program, site, work, {"viewport": _box(size), **window})


def _box(size: tuple[int, int]) -> Mapping[str, int]:
    return {"width": size[0], "height": size[1]}


def _visit(program: str, site: str, work: Callable[[Visit], T], window: dict[str, Any]) -> T:
    playwright = importlib.import_module("playwright.sync_api")
    # Chromium's own sandbox does not run as root, as which the tests may.
    options = {"executable_path": program, "args": ["--no-sandbox"]}
    with playwright.sync_playwright() as driver, driver.chromium.launch(**options) as chromium:
        seen = Visit(chromium.new_context(**window).new_page(), site)
        seen.page.goto(site)
        found = work(seen)
        if seen.errors:
            raise AssertionError(f"the page reports: {seen.errors}")
        return found
