"""The page while mail passes: it follows, and what it says in the end is what has happened.

``make pictures`` does the same for some minutes and takes the pictures of docs/status-page.md.
"""

import base64
import datetime
import os
import smtplib
import ssl
from pathlib import Path

import trustme
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from smtpforward.passwords import default_scheme, hash_secret
from tests.integration.test_metrics import samples
from tests.integration.test_page import PageCase, here, row
from tests.peers.browser import NARROW, Visit, visit
from tests.peers.clients import smtp_source
from tests.peers.gateway import ME, Gateway

WRITE = bool(os.environ.get("SMTPFORWARD_WRITE"))
DOCS = Path(__file__).resolve().parents[2] / "docs"
ROUNDS = 36 if WRITE else 1
QUICK, SLOW, POOLED, IN_VAIN, QUEUED, REFUSED = 60, 8, 2, 2, 1, 2  # in each round
BUSY, WAITING, SENT, DEFERRED = 4, 7, 8, 9
USER, PASSWORD = "operator", "a long secret"
LEFT = datetime.timedelta(days=12)
WORD = base64.b64encode(b"\0ann\0wrong").decode()
WIDE = (1280, 1480)


def quick(number: int) -> int:
    """What the quick backend gets in a round: more in some than in others."""
    return QUICK * (1 + number // 6 % 3)


def hashed(password: str) -> str:
    """As the settings should have it."""
    return hash_secret(password, default_scheme())


def one(client: smtplib.SMTP, sender: str, to: str) -> None:
    """A message, whatever is said to it."""
    client.docmd("MAIL", f"FROM:<{sender}>")
    if client.docmd("RCPT", f"TO:<{to}>")[0] != 250:
        client.rset()
    elif client.docmd("DATA")[0] == 354:
        client.send(b"Subject: a page\r\n\r\nhello\r\n.\r\n")
        client.getreply()


def bring(port: int, number: int) -> None:
    """What no load generator brings: TLS, a login that fails, what is refused, what is in vain.

    For a thread.
    """
    with smtplib.SMTP("127.0.0.1", port, "shop.example.net", 30.0) as client:
        client.starttls(context=ssl._create_unverified_context())
        client.ehlo()
        for _ in range(IN_VAIN):
            one(client, "orders@example.net", "desk@down.example")
        for _ in range(POOLED):
            one(client, "orders@example.net", "desk@two.example")
        for _ in range(QUEUED):
            one(client, "news@example.net", f"reader{number}@partner{number % 4}.example")
    away = ("127.0.0.2", 0)
    with smtplib.SMTP("127.0.0.1", port, "away.example", 30.0, source_address=away) as client:
        client.ehlo()
        for to in ("someone@elsewhere.example", "a%b@example.com"):
            one(client, "someone@away.example", to)
        client.docmd("AUTH", f"PLAIN {WORD}")


class LoadTests(PageCase):
    """One backend is slow, one is down, one of a pool does not answer."""

    timeout = 120 * ROUNDS

    async def watched(self) -> Gateway:
        """It runs; its certificate ends soon."""
        folder = self.folder()
        ends = datetime.datetime.now(datetime.UTC) + LEFT
        issued = trustme.CA().issue_cert(ME, not_after=ends)
        both = folder / "both.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(both)
        both.chmod(0o600)
        tls = {"tls.ini": f"key={both}\ncert={both}\n", "host_list": "example.com\n"}
        logins = f"[core]\nmethods=PLAIN\n[users]\nann={hashed('secret')}\n"
        more = f"queue_changes=true\nuser={USER}\npassword={hashed(PASSWORD)}\n"
        return await self.begun(more, {**tls, "auth_flat_file.ini": logins})

    async def test_watched(self) -> None:
        """It shows what happens while it does; then its numbers are all the others'."""
        self.watching = await self.watched()
        who = {"username": USER, "password": PASSWORD}
        await visit(self.site, self.watch, WIDE, http_credentials=who)
        found = samples((await self.get("/metrics", f"{USER}:{PASSWORD}")).body)
        for (port, status), count in self.counted.items():
            labels = f'backend="127.0.0.1:{port}",status="{status}"'
            self.assertEqual(count, found[f"smtpforward_transactions_total{{{labels}}}"], labels)
        self.assertEqual(self.counted[self.quick.port, "sent"], self.quick.messages)
        self.assertEqual(self.counted[self.slow.port, "sent"], self.slow.messages)
        self.assertEqual(1, found[f'smtpforward_backend_down{{backend="127.0.0.1:{self.gone}"}}'])
        for rule in ("relaying", "source_route"):
            self.assertEqual(ROUNDS, found[f'smtpforward_refusals_total{{rule="{rule}"}}'], rule)
        self.assertEqual(ROUNDS * QUEUED, found["smtpforward_queue_messages{}"])

    async def begin(self) -> None:
        """From now on there is mail."""
        self.loading = Deferred.fromCoroutine(self.load())

    async def load(self) -> None:
        """All of it."""
        port = self.watching.port
        for number in range(ROUNDS):
            each = [Deferred.fromCoroutine(self.sources(port, number))]
            each.append(deferToThread(bring, port, number))
            for done in each:
                await done
        await self.watching.until(
            lambda: self.watching.output().count("attempts=1") == ROUNDS * QUEUED, "attempts"
        )

    async def sources(self, port: int, number: int) -> None:
        """What the load generator brings."""
        loads = [("b@slow.example", SLOW, 4), ("a@example.com", quick(number), 3)]
        running = [
            Deferred.fromCoroutine(
                smtp_source(port, "-s", str(at_once), "-m", str(count), "-l", "4000", "-t", to)
            )
            for to, count, at_once in loads
        ]
        for source in running:
            done = await source
            self.assertEqual(0, done.exit_code, done.output)

    async def end(self) -> None:
        """There is no more mail."""
        await self.loading

    def watch(self, seen: Visit) -> None:
        """In the browser's thread."""
        seen.until("() => document.querySelector('#live').classList.contains('live')")
        here(self.begin)
        for column in (BUSY, WAITING):
            seen.until(
                "where => Number(document.querySelector(where)?.textContent) > 0",
                row(self.slow.port, column),
            )
        self.assertFalse(self.loading.called, "the page shows it only when it is over")
        self.assertEqual([], seen.barriers())
        seen.page.locator(".mails tbody").first.wait_for()
        seen.page.locator(".entries tbody").first.wait_for()
        if WRITE:
            self.pictures(seen)
        here(self.end)
        self.agree(seen)

    def agree(self, seen: Visit) -> None:
        """The numbers are those of the load."""
        taken = sum(quick(number) + POOLED for number in range(ROUNDS))
        self.counted = {
            (self.quick.port, "sent"): taken,
            (self.slow.port, "sent"): ROUNDS * SLOW,
            (self.down, "deferred"): ROUNDS * IN_VAIN,
        }
        for (port, status), count in self.counted.items():
            self.shows(seen, row(port, SENT if status == "sent" else DEFERRED), f"{count:,}")
        self.shows(seen, f"#backend-rows tr[data-key='127.0.0.1:{self.gone}'] .pill", "Resting")
        self.shows(seen, f"#backend-rows tr[data-key='127.0.0.1:{self.down}'] .pill", "Unreachable")
        for rule in ("relaying", "source_route"):
            self.shows(seen, f"#rule-rows tr[data-key='{rule}'] .bar", str(ROUNDS))
        self.shows(seen, "#host", ME)
        self.assertIn(f"{ME} expires in 11 d", seen.text("#notice-list"))
        word = "message" if ROUNDS * QUEUED == 1 else "messages"
        seen.until(
            "wanted => document.querySelector('#queue-aside').textContent.startsWith(wanted)",
            f"{ROUNDS * QUEUED} {word}, ",
        )
        # The steps of the charts end with every tenth second.
        accepted = taken + ROUNDS * (SLOW + QUEUED)
        refused = ROUNDS * REFUSED
        for name, count in (("accepted", accepted), ("refused", refused)):
            seen.until(
                "([name, wanted]) =>"
                " document.querySelector(`.${name} svg`).ariaLabel.includes(wanted)",
                [name, f" {count:,} in 30 minutes"],
            )

    def shows(self, seen: Visit, where: str, wanted: str) -> None:
        """Once it has heard of it."""
        seen.until(
            "([where, wanted]) => document.querySelector(where)?.textContent === wanted",
            [where, wanted],
        )

    def pictures(self, seen: Visit) -> None:
        """Those of docs/status-page.md."""
        page = seen.page
        wanted = ROUNDS * QUEUED - 6
        page.set_default_timeout(1000.0 * self.timeout)
        seen.until(
            "wanted => parseInt(document.querySelector('#queue-aside').textContent) >= wanted",
            wanted,
        )
        page.screenshot(path=DOCS / "status-page.png")
        page.set_viewport_size({"width": NARROW[0], "height": 1500})
        page.screenshot(path=DOCS / "status-page-narrow.png")
        page.set_viewport_size({"width": WIDE[0], "height": 1000})
        page.emulate_media(color_scheme="dark")
        page.get_by_role("searchbox").fill("down.example")
        page.get_by_role("searchbox").press("Enter")
        page.locator("#search-result").filter(has_text="found").wait_for()
        page.locator(".mails .open").nth(1).click()
        page.locator(".mails .timeline").wait_for()
        page.evaluate("document.activeElement.blur()")
        page.locator("#transactions").evaluate("section => section.scrollIntoView()")
        page.mouse.move(5, 5)
        page.screenshot(path=DOCS / "status-page-dark.png")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
        page.locator("#search-clear").click()
