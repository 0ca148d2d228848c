"""The page of a real gateway in a real browser: what it shows, and what is done with it."""

import smtplib
from collections.abc import Callable, Coroutine, Mapping
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
LIVE = "() => document.querySelector('#live-word').textContent === 'Live'"
ROW = "#backend-rows tr[data-key='127.0.0.1:{}'] > :nth-child({})"
SENT, DEFERRED = 8, 9
SHOWN = 25  # transactions, at first
PORT = 2525
# The cells of the tables that reach beyond the panel that they are in.
BEYOND = """() => {
  const right = (one) => one.getBoundingClientRect().right;
  return [...document.querySelectorAll(".panel th, .panel td, .panel .why")]
  .filter(one => one.getClientRects().length && !one.closest("thead"))
  .filter(one => right(one) > right(one.closest(".panel")) + 1)
  .map(one => one.outerHTML); }"""


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

    async def begun(
        self, more: str = "queue_changes=true\n", files: Mapping[str, str] | None = None
    ) -> Gateway:
        """It runs; ``site`` is its page. What is queued is told to come later."""
        self.late = self.backend(Script(replies={"RCPT": b"450 4.2.0 come later\r\n"}))
        self.quick, self.slow = await self.sink(), await self.sink("-w", "1")
        self.down = free_port()
        ways = {
            "example.com": self.quick.port,
            "slow.example": self.slow.port,
            "down.example": self.down,
        }
        self.gone = free_port()
        forward = "host=127.0.0.1\nenable_tls=false\nenable_outbound=false\n" + "".join(
            f"[{domain}]\nhost=127.0.0.1\nport={port}\nqueue=smtp_forward\n"
            for domain, port in ways.items()
        )
        forward = forward.replace("[slow.example]\n", "[slow.example]\nmax_connections=2\n")
        pool = f"127.0.0.1:{self.gone},127.0.0.1:{self.quick.port}"
        forward += f"[two.example]\nforwarding_host_pool={pool}\nqueue=smtp_forward\n"
        store = f"store=sqlite:{self.folder() / 'queue.sqlite3'}\n"
        smart = f"smart_host=127.0.0.1:{self.late.port}\nenable_tls=false\n"
        files = {
            "smtp_forward.ini": forward,
            "outbound.ini": f"{store}{smart}temp_fail_intervals=1h*3\n",
            "relay_acl_allow": "127.0.0.1/32\n",
            **(files or {}),
        }
        gateway = await self.shown(files, more)
        self.site = f"http://127.0.0.1:{self.page}/"
        return gateway

    async def used(self) -> Gateway:
        """It has had some mail."""
        gateway = await self.begun()
        await deferToThread(bring, gateway.port, "ann@example.net", *["a@example.com"] * FEW)
        return await self.used_in_vain(gateway)

    async def loaded(self, nodes: int = 0) -> Gateway:
        """It has had much, of each kind."""
        gateway = await self.begun(files={"connection.ini": f"nodes={nodes}\n"})
        if nodes:
            begun = lambda: gateway.output().count("forwards to")  # noqa: E731
            await gateway.until(lambda: begun() == nodes, "all workers")
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
        await self.check_load()

    async def test_workers(self) -> None:
        """The same of two processes together."""
        await self.check_load(2)
        self.assertIn(", 2 workers", self.about)

    async def check_load(self, nodes: int = 0) -> None:
        """The numbers are those of the load."""
        await self.loaded(nodes)
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
        self.about = seen.text("#about")
        default = seen.text("#route-rows tr[data-key=default]")
        self.assertIn("for clients that relay, from the queue", default)
        self.assertIn("127.0.0.1:25\n", default)
        smart = f"127.0.0.1:{self.late.port}"
        self.assertIn(f"not in host_list: the smart host, {smart}", default)
        self.assertEqual(f"{smart} (smart host)", seen.text(row(self.late.port, 1)))
        self.assertEqual(QUEUED, seen.number(row(self.late.port, DEFERRED)))
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

    async def test_older(self) -> None:
        """The first ones are shown, and more when they are wanted."""
        gateway = await self.begun()
        to = [f"user{number}@example.com" for number in range(SHOWN + 5)]
        await deferToThread(bring, gateway.port, "ann@example.net", *to)
        await visit(self.site, self.older)

    def older(self, seen: Visit) -> None:
        """In the browser's thread."""
        seen.page.locator("#more").wait_for()
        rows = seen.page.locator(".mails tbody")
        self.assertEqual(SHOWN, rows.count())
        seen.page.locator("#more").focus()
        seen.page.keyboard.press("Enter")
        seen.page.locator("#more").wait_for(state="hidden")
        self.assertEqual(SHOWN + 5, rows.count())
        self.assertTrue(rows.nth(SHOWN).locator(".open").evaluate("it => it.matches(':focus')"))

    async def test_long_names(self) -> None:
        """Long names and addresses push nothing out of sight."""
        names = ".".join(["a-quite-long-label"] * 8) + ".example"
        six = "[2001:db8:1234:5678:9abc:def0:1234:5678]"
        forward = "".join(
            f"{section}host={host}\nport={PORT}\nconnect_timeout=1\n"
            for section, host in (("", names), ("[six.example]\n", six[1:-1]))
        )
        gateway = await self.shown({"smtp_forward.ini": forward, "host_list": "six.example\n"})
        long = f"{'l' * 64}@{'sub.' * 30}example"
        await deferToThread(bring, gateway.port, long, "a@six.example")
        for width in (360, 800, 1000, 1280):
            site = f"http://127.0.0.1:{self.page}/"
            await visit(site, self.within, (width, 900))

    def within(self, seen: Visit) -> None:
        """Whatever stands in a table is within the window. In the browser's thread."""
        seen.until(LIVE)
        seen.page.locator(".mails tbody").wait_for()
        beyond = seen.page.evaluate(BEYOND)
        self.assertEqual([], beyond)
        self.assertEqual(0, seen.sideways())

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
