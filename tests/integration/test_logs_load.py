"""``log_format=postfix`` of a mixed load: the tools count what has happened."""

import base64
import re
import smtplib
from collections import Counter
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.integration.test_logs import JAIL, NO_SUCH_USER, TRY_LATER
from tests.peers.case import PeerTestCase
from tests.peers.clients import run, smtp_source
from tests.peers.require import require
from tests.peers.script import Script, by_recipient

SOURCED, SESSIONS = 200, 4
# By recipient: how often it is sent something, in turn with the others.
SAID = {
    "ann@example.com": 12,
    "none@example.com": 7,
    "late@example.com": 5,
    "ann@queued.example": 6,
    "none@queued.example": 3,
    "late@queued.example": 4,
    "x@elsewhere.example": 9,
}
# What the sender hears; the queue takes what the backend then refuses.
CODES = dict.fromkeys(SAID, 250) | {
    "none@example.com": 550, "late@example.com": 450, "x@elsewhere.example": 550,
}  # fmt: skip
BARE, LOGINS = 3, 4
WORD = base64.b64encode(b"\0ann\0wrong").decode()
SENDER = "news@example.com"


def bring(port: int, address: str) -> Counter[str]:
    """All of ``SAID`` from an address; how often each code was heard for whom. For a thread."""
    heard: Counter[str] = Counter()
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", 30.0, (address, 0)) as client:
        client.ehlo()
        for turn in range(max(SAID.values())):
            for to, times in SAID.items():
                if turn < times:
                    heard[f"{to} {_one(client, to)}"] += 1
    return heard


def _one(client: smtplib.SMTP, to: str, text: bytes = b"Subject: x\r\n\r\nhello\r\n") -> int:
    client.docmd("RSET")
    client.docmd("MAIL", f"FROM:<{SENDER}>")
    code, _ = client.docmd("RCPT", f"TO:<{to}>")
    if code == 250:
        client.docmd("DATA")
        client.send(text + b".\r\n")
        code, _ = client.getreply()
    return code


def bare(port: int) -> int:
    """A message with a bare LF: the code. For a thread."""
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", 30.0) as client:
        client.ehlo()
        code = _one(client, "ann@example.com", b"Subject: x\r\n\r\nbare\nfeed\r\n")
        client.close()
    return code


def login(port: int, address: str) -> int:
    """A wrong password: the code. For a thread."""
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", 30.0, (address, 0)) as client:
        client.ehlo()
        return client.docmd("AUTH", f"PLAIN {WORD}")[0]


class MixedLoadTests(PeerTestCase):
    """What pflogsumm and fail2ban find is what the clients heard and the backend took."""

    async def loaded(self) -> Path:
        """The log of a gateway that has had it, and has ended."""
        self.taken = self.backend(
            Script(replies={"RCPT": by_recipient(none=NO_SUCH_USER, late=TRY_LATER)})
        )
        forward = f"host=127.0.0.1\nport={self.taken.port}\nenable_tls=false\n"
        gateway = await self.gateway(
            self.taken.port,
            {
                "smtp_forward.ini": f"{forward}[queued.example]\nqueue=outbound\n",
                "outbound.ini": f"store=sqlite:{self.folder()}/queue.sqlite3\n"
                "temp_fail_intervals=1h*3\n",
                "connection.ini": "log_format=postfix\n",
                "relay_acl_allow": "",
                "host_list": "example.com\nqueued.example\n",
                "auth_flat_file.ini": "[core]\nmethods=PLAIN\n[users]\nann=secret\n",
            },
        )
        options = ["-s", str(SESSIONS), "-m", str(SOURCED), "-l", "3000", "-f", SENDER]
        done = await smtp_source(gateway.port, *options, "-t", "bob@example.com")
        self.assertEqual(0, done.exit_code, done.output)
        heard = await deferToThread(bring, gateway.port, "127.0.0.2")
        self.assertEqual({f"{to} {CODES[to]}": SAID[to] for to in SAID}, heard)
        for _ in range(BARE):
            self.assertEqual(554, await deferToThread(bare, gateway.port))
        for number in range(LOGINS):
            code = await deferToThread(login, gateway.port, f"127.0.0.{3 + number}")
            self.assertEqual(535, code)
        # The bounces of what the backend refuses go to it as well.
        attempts = sum(SAID[f"{who}@queued.example"] for who in ("ann", "none", "late", "none"))
        said = re.compile(r" smtpforward/\w+\[\d+\]: \w+: to=<.*status=")
        await gateway.until(
            lambda: len(said.findall(gateway.output())) >= attempts + SOURCED, "all attempts"
        )
        await gateway.stop()
        path = gateway.folder / "mail.log"
        lines = [line for line in gateway.stdout.splitlines() if " smtpforward/" in line]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    async def test_pflogsumm(self) -> None:
        """Received, delivered, deferred, bounced, rejected."""
        [program] = require("pflogsumm")
        path = await self.loaded()
        done = await run([program, "--syslog-name=smtpforward", str(path)])
        self.assertEqual(0, done.exit_code, done.output)
        counts = {what: int(n) for n, what in re.findall(r"^ +(\d+) +(\w+)", done.output, re.M)}
        expected = {
            "received": SOURCED + self.data_came(),
            "delivered": len(self.taken.messages),
            "deferred": SAID["late@example.com"] + SAID["late@queued.example"],
            "bounced": SAID["none@example.com"] + SAID["none@queued.example"],
            "rejected": SAID["x@elsewhere.example"] + BARE,
        }
        self.assertEqual(expected, {name: counts[name] for name in expected}, done.output)
        bounces = SAID["none@queued.example"]
        good = SAID["ann@example.com"] + SAID["ann@queued.example"]
        self.assertEqual(SOURCED + good + bounces, len(self.taken.messages))

    def data_came(self) -> int:
        """How many of ``SAID`` came to the end of their data: the gateway refused the others."""
        return sum(SAID.values()) - SAID["x@elsewhere.example"]

    async def test_fail2ban(self) -> None:
        """Each refused relay and each failed login."""
        [program] = require("fail2ban-regex")
        path = await self.loaded()
        done = await run([program, str(path), JAIL])
        self.assertEqual(0, done.exit_code, done.output)
        found = SAID["x@elsewhere.example"] + LOGINS
        self.assertRegex(done.output, rf"(?m)^Lines: .* {found} matched", done.output)
