"""``log_format``: what twistd writes, read by the tools that read mail logs."""

import base64
import json
import re
import smtplib
from typing import Any

from twisted.internet.threads import deferToThread

from tests.peers.case import PeerTestCase
from tests.peers.clients import run
from tests.peers.gateway import Gateway
from tests.peers.require import require
from tests.peers.script import Script, by_recipient

NO_SUCH_USER = b"550 5.1.1 no such user\r\n"
TRY_LATER = b"450 4.2.0 try later\r\n"
TWISTD = ("twistd", "reactor class")
JAIL = r'postfix[mode=extra, _daemon="smtpforward/\w+"]'


def deliver(port: int) -> list[int]:
    """Five transactions and two logins that fail, one after the other; the codes. For a thread."""
    codes: list[int] = []
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", 30.0) as client:
        for to in ("rcpt@example.com", "none@example.com", "late@example.com"):
            codes.append(_send(client, to))
        codes.append(_send(client, "x@elsewhere.example"))
        codes.append(_send(client, "rcpt@example.com", b"bare\nfeed\r\n"))
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", 30.0) as client:
        client.ehlo()
        for name in (b"ann", b"bob"):
            initial = base64.b64encode(b"\0%b\0wrong" % name).decode()
            codes.append(client.docmd("AUTH", f"PLAIN {initial}")[0])
    return codes


def _send(client: smtplib.SMTP, to: str, text: bytes = b"Subject: x\r\n\r\nhello\r\n") -> int:
    client.ehlo_or_helo_if_needed()
    client.docmd("RSET")
    client.docmd("MAIL", "FROM:<sender@example.org>")
    code, _ = client.docmd("RCPT", f"TO:<{to}>")
    if code != 250:
        return code
    client.docmd("DATA")
    client.send(text + b".\r\n")
    return client.getreply()[0]


class LogsCase(PeerTestCase):
    """A gateway that has had some mail."""

    async def logged(self, log_format: str, **more: object) -> Gateway:
        """It has ended."""
        backend = self.backend(
            Script(replies={"RCPT": by_recipient(none=NO_SUCH_USER, late=TRY_LATER)})
        )
        keys = {"log_format": log_format, **more}
        files = {
            "connection.ini": "".join(f"{key}={value}\n" for key, value in keys.items()),
            "relay_acl_allow": "",
            "host_list": "example.com\n",
            "auth_flat_file.ini": "[core]\nmethods=PLAIN\n[users]\nann=secret\n",
        }
        gateway = await self.gateway(backend.port, files)
        codes = await deferToThread(deliver, gateway.port)
        self.assertEqual(codes, [250, 550, 450, 550, 554, 535, 535])
        await gateway.stop()
        return gateway


class JSONTests(LogsCase):
    """One object a line."""

    async def check(self, **more: object) -> list[dict[str, Any]]:
        """All objects: twistd's first lines are its own."""
        gateway = await self.logged("json", **more)
        lines = gateway.stdout.splitlines()
        while lines and not lines[0].startswith("{"):
            self.assertRegex(lines.pop(0), "|".join(TWISTD))
        found = [json.loads(line) for line in lines]
        for one in found:
            self.assertLessEqual({"time", "level", "system"}, one.keys())
            self.assertTrue({"text", "event"} & one.keys(), one)
        return found

    def check_mail(self, found: list[dict[str, Any]]) -> None:
        """What was said of the mail."""
        mails = [one for one in found if one.get("event") in ("message", "refused")]
        self.assertEqual(
            [(one["event"], one["status"], *one["to"]) for one in mails],
            [
                ("message", "sent", "rcpt@example.com"),
                ("message", "bounced", "none@example.com"),
                ("message", "deferred", "late@example.com"),
                ("refused", "bounced", "x@elsewhere.example"),
                ("message", "bounced", "rcpt@example.com"),
            ],
        )
        self.assertIn("is not in host_list", mails[3]["reason"])
        logins = [one for one in found if one.get("event") == "login"]
        self.assertEqual(
            [(one["user"], one["success"], one["mechanism"]) for one in logins],
            [("ann", False, "PLAIN"), ("bob", False, "PLAIN")],
        )

    async def test_all_lines(self) -> None:
        """Each line is an object, and those of the mail have its facts."""
        self.check_mail(await self.check())

    async def test_workers(self) -> None:
        """The same from a worker process."""
        found = await self.check(nodes=1)
        self.check_mail(found)
        mails = [one for one in found if one.get("event") == "message"]
        self.assertEqual({one["system"] for one in mails}, {"mail,1"})


class PostfixTests(LogsCase):
    """What the tools make of it."""

    async def test_pflogsumm(self) -> None:
        """It counts what was received, delivered, deferred, bounced and rejected."""
        [program] = require("pflogsumm")
        gateway = await self.logged("postfix")
        path = gateway.folder / "mail.log"
        path.write_text(gateway.stdout, "utf-8")
        done = await run([program, "--syslog-name=smtpforward", str(path)])
        self.assertEqual(0, done.exit_code, done.output)
        counts = {what: int(n) for n, what in re.findall(r"^ +(\d+) +(\w+)", done.output, re.M)}
        expected = {"received": 3, "delivered": 1, "deferred": 1, "bounced": 1, "rejected": 2}
        self.assertEqual(expected, {name: counts[name] for name in expected}, done.output)
        self.assertIn("Relay access denied", done.output)

    async def test_fail2ban(self) -> None:
        """Its filter for Postfix finds who relays and who guesses passwords."""
        [program] = require("fail2ban-regex")
        gateway = await self.logged("postfix")
        lines = [line for line in gateway.stdout.splitlines() if " smtpforward/" in line]
        path = gateway.folder / "mail.log"
        path.write_text("\n".join(lines) + "\n", "utf-8")
        done = await run([program, "--print-all-matched", str(path), JAIL])
        self.assertEqual(0, done.exit_code, done.output)
        self.assertRegex(done.output, r"(?m)^Lines: .* 3 matched", done.output)
        for told in ("Relay access denied", "sasl_username=ann", "sasl_username=bob"):
            self.assertIn(told, done.output)
