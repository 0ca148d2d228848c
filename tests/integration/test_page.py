"""The page of a real gateway in a real browser: what it shows, and what is done with it."""

import smtplib
from collections.abc import Callable, Coroutine
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from tests.integration.test_metrics import MetricsCase, samples
from tests.peers.browser import NARROW, Visit, visit
from tests.peers.clients import smtp_source
from tests.peers.gateway import Gateway
from tests.peers.ports import free_port
from tests.peers.script import Script

MESSAGES, FEW, SLOW, IN_VAIN, QUEUED = 200, 4, 6, 3, 5
MARKUP = '"<img src=x onerror=alert(1)>"@example.net'
LIVE = "() => document.querySelector('#live').classList.contains('live')"
ROW = "#backend-rows tr[data-key='127.0.0.1:{}'] td:nth-child({})"
ENTRY = ".entries tbody:has(.open[data-id='{}'])"
SENT, DEFERRED = 8, 9


def row(port: int, column: int) -> str:
    """The cell of a backend."""
    return ROW.format(port, column)


def bring(port: int, sender: str, *to: str) -> None:
    """A message to each. For a thread."""
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", 30.0) as client:
        client.ehlo()
        for recipient in to:
            # smtplib's own way would make another address of it.
            client.docmd("MAIL", f"FROM:<{sender}>")
            client.docmd("RCPT", f"TO:<{recipient}>")
            if client.docmd("DATA")[0] == 354:
                client.send(b"Subject: a page\r\n\r\nhello\r\n.\r\n")
                client.getreply()


def here(work: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
    """Do it in the reactor's thread, and wait for it."""
    done: Callable[[], Any] = lambda: ensureDeferred(work(*arguments))  # noqa: E731
    blockingCallFromThread(cast(Any, reactor), done)


class PageCase(MetricsCase):
    """A gateway with a backend that takes, a slow one, one that is down, and a queue."""

    async def begun(self, more: str = "queue_changes=true\n") -> Gateway:
        """It runs; ``site`` is its page. What is queued is told to come later."""
        self.late = self.backend(Script(replies={"RCPT": b"450 4.2.0 come later\r\n"}))
        self.quick, self.slow = await self.sink(), await self.sink("-w", "1")
        self.down = free_port()
        ways = {
            "example.com": self.quick.port,
            "slow.example": self.slow.port,
            "down.example": self.down,
        }
        forward = "host=127.0.0.1\nenable_tls=false\nenable_outbound=false\n" + "".join(
            f"[{domain}]\nhost=127.0.0.1\nport={port}\nqueue=smtp_forward\n"
            for domain, port in ways.items()
        )
        store = f"store=sqlite:{self.folder() / 'queue.sqlite3'}\n"
        smart = f"smart_host=127.0.0.1:{self.late.port}\nenable_tls=false\n"
        files = {
            "smtp_forward.ini": forward,
            "outbound.ini": f"{store}{smart}temp_fail_intervals=1h*3\n",
            "relay_acl_allow": "127.0.0.0/8\n",
        }
        gateway = await self.shown(files, more)
        self.site = f"http://127.0.0.1:{self.page}/"
        return gateway

    async def used(self) -> Gateway:
        """It has had some mail."""
        gateway = await self.begun()
        await deferToThread(bring, gateway.port, "ann@example.net", *["a@example.com"] * FEW)
        return await self.used_in_vain(gateway)

    async def loaded(self) -> Gateway:
        """It has had much, of each kind."""
        gateway = await self.begun()
        for to, count, sessions in (("a@example.com", MESSAGES, 4), ("b@slow.example", SLOW, 3)):
            options = ["-s", str(sessions), "-m", str(count), "-l", "2000", "-t", to]
            done = await smtp_source(gateway.port, *options)
            self.assertEqual(0, done.exit_code, done.output)
        return await self.used_in_vain(gateway)

    async def used_in_vain(self, gateway: Gateway) -> Gateway:
        """It has had mail that nobody takes now."""
        await deferToThread(bring, gateway.port, MARKUP, *["c@down.example"] * IN_VAIN)
        late = [f"q{number}@example.org" for number in range(QUEUED)]
        await deferToThread(bring, gateway.port, "ann@example.net", *late)
        await gateway.until(lambda: gateway.output().count("attempts=1") == QUEUED, "attempts")
        return gateway

    def bring(self, gateway: Gateway, *to: str) -> None:
        """A message to each, from the browser's thread."""
        bring(gateway.port, "late@example.net", *to)


def settled(seen: Visit) -> None:
    """It is live and has all that is asked for at the start."""
    seen.until(LIVE)
    seen.page.wait_for_selector(".mails tbody")
    seen.page.wait_for_selector(".entries tbody")


class ShownTests(PageCase):
    """What it shows."""

    async def test_load(self) -> None:
        """After a load its numbers are those of the metrics, and the sinks' own counts."""
        await self.loaded()
        await visit(self.site, self.numbers)
        await self.quick.until(lambda: self.quick.messages == MESSAGES, "all")
        await self.slow.until(lambda: self.slow.messages == SLOW, "all of the slow one")
        found = samples((await self.get("/metrics")).body)
        for (port, status), count in self.counted.items():
            labels = f'backend="127.0.0.1:{port}",status="{status}"'
            name = f"smtpforward_transactions_total{{{labels}}}"
            self.assertEqual(count, found.get(name), name)
        self.assertEqual(self.counted[self.quick.port, "sent"], self.quick.messages)
        self.assertEqual(self.counted[self.slow.port, "sent"], self.slow.messages)
        self.assertEqual(QUEUED, found["smtpforward_queue_messages{}"])

    def numbers(self, seen: Visit) -> None:
        """They are there; in the browser's thread."""
        settled(seen)
        self.assertEqual("Ready", seen.text("#ready"))
        self.counted = {
            (self.quick.port, "sent"): seen.number(row(self.quick.port, SENT)),
            (self.slow.port, "sent"): seen.number(row(self.slow.port, SENT)),
            (self.down, "deferred"): seen.number(row(self.down, DEFERRED)),
        }
        self.assertEqual([MESSAGES, SLOW, IN_VAIN], list(self.counted.values()))
        down = seen.text(row(self.down, 2))
        self.assertTrue(down.startswith("Unreachable"), down)
        self.assertIn("refused", down)
        self.assertEqual("Up", seen.text(row(self.quick.port, 2)))
        self.assertEqual(f"{QUEUED} messages, {QUEUED} entries", seen.text("#queue-aside"))
        seen.until(
            "wanted => document.querySelector('.accepted svg').ariaLabel.includes(wanted)",
            f" {MESSAGES + SLOW + QUEUED} in 30 minutes",
        )

    async def test_timeline(self) -> None:
        """A transaction is found, and opens to its story; what is in it is text."""
        await self.used()
        await visit(self.site, self.story)

    def story(self, seen: Visit) -> None:
        """In the browser's thread."""
        settled(seen)
        seen.page.get_by_role("searchbox").fill("c@down")
        seen.page.get_by_role("searchbox").press("Enter")
        seen.until(
            "wanted => document.querySelector('#search-result').textContent.startsWith(wanted)",
            f"{IN_VAIN} transactions found",
        )
        first = seen.page.locator(".mails tbody").first
        self.assertEqual(MARKUP, first.locator(".from").inner_text())
        first.locator(".open").click()
        events = first.locator(".timeline li .what")
        events.last.wait_for()
        self.assertEqual(2, events.count())
        self.assertIn("deferred", events.last.inner_text())
        self.assertIn("451 4.4.1", first.locator(".reply").last.inner_text())
        self.assertEqual(0, seen.page.locator("main img").count())

    async def test_not_ready(self) -> None:
        """Why it is not ready."""
        gateway = await self.shown(
            {"smtp_forward.ini": f"host=127.0.0.1\nport={free_port()}\nenable_tls=false\n"}
        )
        to = "a@example.com"
        await deferToThread(bring, gateway.port, "x@example.net", to)
        await visit(f"http://127.0.0.1:{self.page}/", self.reasons)

    def reasons(self, seen: Visit) -> None:
        """In the browser's thread."""
        seen.until("() => document.querySelector('#ready').textContent === 'Not ready'")
        self.assertIn("no backend can be reached", seen.text("#notice-list"))
        self.assertTrue(seen.page.locator("#no-queue").is_visible())

    async def test_barriers(self) -> None:
        """Nobody is kept out: with all open, light and dark, wide and narrow."""
        await self.used()
        for size, scheme in (((1280, 900), "light"), ((1280, 900), "dark"), (NARROW, "dark")):
            await visit(self.site, self.barriers, size, color_scheme=scheme)

    def barriers(self, seen: Visit) -> None:
        """In the browser's thread."""
        settled(seen)
        page = seen.page
        page.locator("#numbers summary").click()
        page.locator(".mails .open").first.click()
        page.locator(".entries .open").first.click()
        page.wait_for_selector(".entries .timeline")
        page.wait_for_selector(".mails .timeline")
        page.locator(".entries input").first.check()
        self.assertEqual([], seen.barriers())
        self.assertEqual(0, seen.sideways())
        page.locator("[data-change=delete]").click()
        page.wait_for_selector("dialog[open]")
        self.assertEqual([], seen.barriers())


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
