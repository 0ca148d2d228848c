"""What is done with the page of a real gateway, in a real browser."""

import socket

from twisted.internet.threads import deferToThread

from smtpforward.web.events import MOST
from tests.integration.test_page import (
    FEW,
    LIVE,
    QUEUED,
    SENT,
    PageCase,
    bring,
    here,
    row,
    settled,
)
from tests.peers.browser import Visit, visit
from tests.peers.gateway import Gateway

ENTRY = ".entries tbody:has(.open[data-id='{}'])"


def listen(port: int) -> socket.socket:
    """One who listens to what happens. For a thread."""
    listening = socket.create_connection(("127.0.0.1", port), 30.0)
    listening.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert listening.recv(64).startswith(b"HTTP/1.1 200 ")
    return listening


class OperatedTests(PageCase):
    """What is done with it."""

    async def test_queue(self) -> None:
        """A message is tried again, another deleted, by clicking."""
        gateway = await self.used()
        again, gone = await visit(self.site, self.clicks)
        await gateway.until(lambda: f"id={again} " in gateway.output(), "the message")
        await gateway.until(lambda: "attempts=2" in gateway.output(), "a second attempt")
        [second] = [line for line in gateway.output().splitlines() if "attempts=2" in line]
        self.assertIn(f"id={again} ", second)
        self.assertEqual(404, (await self.get(f"/api/queue/{gone}")).code)
        self.assertEqual(200, (await self.get(f"/api/queue/{again}")).code)

    def clicks(self, seen: Visit) -> list[str]:
        """In the browser's thread; the ids of the two."""
        settled(seen)
        page = seen.page
        ids = [page.locator(".entries .open").nth(at).inner_text() for at in (0, 1)]
        page.locator(ENTRY.format(ids[0])).locator("input").check()
        page.locator("[data-change=retry]").click()
        self.result(seen, "1 entry to be tried at once.")
        for answer, dialog in (("#confirm-no", False), ("#confirm-yes", True)):
            page.locator(ENTRY.format(ids[1])).locator("input").check()
            page.locator("[data-change=delete]").click()
            self.assertIn(ids[1], seen.text("#confirm-list"))
            self.assertEqual("confirm-no", seen.focus())
            page.locator(answer).click()
            page.wait_for_selector("dialog", state="hidden")
            if not dialog:
                self.assertEqual("Delete…", seen.focus())
        self.result(seen, "1 entry deleted.")
        page.locator(ENTRY.format(ids[1])).wait_for(state="detached")
        seen.until(
            "wanted => document.querySelector('#queue-aside').textContent.startsWith(wanted)",
            f"{QUEUED - 1} messages",
        )
        return ids

    def result(self, seen: Visit, wanted: str) -> None:
        """It is said, and to who cannot see it as well."""
        result = seen.page.get_by_role("status").filter(has_text=wanted)
        result.wait_for()
        self.assertEqual("queue-result", result.get_attribute("id"))

    async def test_not_allowed(self) -> None:
        """Where the settings allow no changes, nothing is offered."""
        gateway = await self.begun("")
        await deferToThread(bring, gateway.port, "ann@example.net", "q@example.org")
        await visit(self.site, self.without)

    def without(self, seen: Visit) -> None:
        """In the browser's thread."""
        settled(seen)
        self.assertFalse(seen.page.locator("#queue-tools").is_visible())
        self.assertFalse(seen.page.locator(".entries input").first.is_visible())

    async def test_keyboard(self) -> None:
        """A message is deleted without a mouse; Escape says no."""
        await self.used()
        await visit(self.site, self.keys)

    def keys(self, seen: Visit) -> None:
        """In the browser's thread."""
        settled(seen)
        press = seen.page.keyboard.press
        press("Tab")
        self.assertEqual("Skip to the content", seen.focus())
        press("Enter")
        self.assertEqual("main", seen.focus())
        self.tab_to(seen, "queue-every")
        press("Space")
        self.assertEqual(f"{QUEUED} messages selected", seen.text("#queue-chosen"))
        self.tab_to(seen, "Delete…")
        press("Enter")
        self.assertEqual("confirm-no", seen.focus())
        press("Escape")
        seen.page.wait_for_selector("dialog", state="hidden")
        self.assertEqual("Delete…", seen.focus())
        press("Enter")
        press("Tab")
        self.assertEqual("confirm-yes", seen.focus())
        press("Enter")
        self.result(seen, f"{QUEUED} entries deleted.")
        self.assertEqual("Delete…", seen.focus())
        seen.page.locator("#queue-empty").wait_for()
        seen.page.locator(".mails .open").first.focus()
        press("Enter")
        seen.page.wait_for_selector(".mails .timeline")

    def tab_to(self, seen: Visit, wanted: str) -> None:
        """Go on with Tab until ``wanted`` has the focus."""
        for _ in range(40):
            seen.page.keyboard.press("Tab")
            if seen.focus() == wanted:
                return
        self.fail(f"the keyboard does not reach {wanted}")

    async def test_in_place(self) -> None:
        """What comes while somebody reads moves neither the focus nor the page."""
        self.gateway_of = await self.used()
        await visit(self.site, self.reading)

    def reading(self, seen: Visit) -> None:
        """In the browser's thread."""
        settled(seen)
        seen.page.locator(".mails .open").nth(3).focus()
        before, place = seen.focus(), seen.page.evaluate("scrollY")
        self.assertGreater(place, 0)
        self.bring(self.gateway_of, "new@example.com", "new@example.org")
        seen.page.locator("#fresh").filter(has_text="Show 2 new").wait_for()
        self.until_sent(seen, FEW + 1)
        self.assertEqual((before, place), (seen.focus(), seen.page.evaluate("scrollY")))
        self.assertEqual(0, seen.page.locator(".mails .to", has_text="new@").count())
        seen.page.locator("#fresh").click()
        self.assertEqual(2, seen.page.locator(".mails .to", has_text="new@").count())

    def until_sent(self, seen: Visit, count: int) -> None:
        """The page says that the one backend has had so many."""
        seen.until(
            "([where, wanted]) => document.querySelector(where).textContent === wanted",
            [row(self.quick.port, SENT), str(count)],
        )

    async def test_paused(self) -> None:
        """Paused, it stays as it is; then it catches up."""
        self.gateway_of = await self.used()
        await visit(self.site, self.pausing)

    def pausing(self, seen: Visit) -> None:
        """In the browser's thread."""
        settled(seen)
        pause = seen.page.locator("#pause")
        pause.click()
        self.assertEqual("true", pause.get_attribute("aria-pressed"))
        self.assertTrue(seen.text("#live").startswith("Paused"), seen.text("#live"))
        self.bring(self.gateway_of, "new@example.com")
        self.assertEqual(FEW, seen.number(row(self.quick.port, SENT)))
        pause.click()
        self.until_sent(seen, FEW + 1)
        seen.page.locator(".mails .to", has_text="new@").wait_for()

    async def test_no_room(self) -> None:
        """Where too many listen, it says so, shows what it can, and is live when there is room."""
        await self.used()
        self.listeners = [await deferToThread(listen, self.page) for _ in range(MOST)]
        await visit(self.site, self.waiting)

    def waiting(self, seen: Visit) -> None:
        """In the browser's thread."""
        seen.page.locator("#lost-what").filter(has_text="sends no live updates").wait_for()
        self.until_sent(seen, FEW)
        self.assertFalse(seen.page.evaluate("document.documentElement.matches('.stale')"))
        for listener in self.listeners:
            listener.close()
        seen.page.locator("#lost").wait_for(state="hidden")
        seen.until(LIVE)
        # The browser itself reports that it was refused.
        seen.errors = [error for error in seen.errors if "503" not in error]

    async def test_lost(self) -> None:
        """A gateway that goes is noticed, and one that comes back."""
        self.gateway_of = await self.begun()
        await visit(self.site, self.losing)

    async def another(self, gateway: Gateway) -> None:
        """One with the same settings runs in its place."""
        config = gateway.folder / "config"
        files = {path.name: path.read_text("utf-8") for path in config.iterdir()}
        again = Gateway(self.folder(), files, gateway.port)
        self.stop_later(again.stop)
        await again.until_listening(self.page)

    def losing(self, seen: Visit) -> None:
        """In the browser's thread."""
        seen.until(LIVE)
        here(self.gateway_of.stop)
        seen.page.locator("#lost").wait_for()
        self.assertIn("connection to the gateway is lost", seen.text("#lost"))
        self.assertIn("is lost", seen.text("#announce"))
        self.assertEqual([], seen.barriers())
        here(self.another, self.gateway_of)
        seen.page.locator("#lost").wait_for(state="hidden")
        self.assertEqual("Connected again.", seen.text("#announce"))
        # The browser itself reports each connection that it could not make.
        seen.errors = [error for error in seen.errors if "net::ERR_" not in error]
