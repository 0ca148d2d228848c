"""``debug_session``: dialogues in the log of a real gateway, and of whom."""

import base64
import json
import re
import smtplib
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.peers.case import PeerTestCase
from tests.peers.gateway import ME, Gateway, three_files
from tests.peers.ports import free_port
from tests.peers.script import Script
from tests.tlssupport import certificate

PASSWORD = "correct horse"
BACKEND_PASSWORD = "battery staple"
BODY = "Subject: private words\r\n\r\nhello\r\n"
DIALOGUE = re.compile(r"\[smtpforward\.dialogue#info\] (client|backend) (\S+) ([CS-]): (.*)")
OWN = certificate(ME, "localhost")
CERTIFICATE = {"tls_key.pem": OWN.key.decode(), "tls_cert.pem": OWN.chain.decode()}
LOGINS = {"auth_flat_file.ini": f"[core]\nmethods=PLAIN\n[users]\nann={PASSWORD}\n"}


def deliver(
    port: int, source: str = "127.0.0.1", tls: bool = False, to: str = "b@example.com"
) -> None:
    """One message, from a client that logs in. For a thread."""
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", 30.0, (source, 0)) as client:
        if tls:
            client.starttls()
        client.login("ann", PASSWORD)
        client.sendmail("a@example.org", [to], BODY)


class DebugSessionTests(PeerTestCase):
    """Who is shown, and what of it."""

    async def running(
        self,
        named: str,
        *options: str,
        script: Script | None = None,
        login: str = "",
        files: Mapping[str, str] | None = None,
    ) -> Gateway:
        """A gateway whose ``debug_session`` is ``named``, with two routes to one backend host."""
        self.first, self.second = self.backend(script), self.backend(script)
        port = free_port()
        directory = three_files(port, self.first.port)
        other = f"[other.example]\nhost=127.0.0.1\nport={self.second.port}\n"
        directory["smtp_forward.ini"] += f"{login}{other}"
        more = f"debug_session={named}\n" if named else ""
        directory = {**directory, "me": f"{ME}\n", **LOGINS, **(files or {})}
        directory["smtp.ini"] += more
        gateway = Gateway(self.folder(), directory, port, *options)
        self.stop_later(gateway.stop)
        return await gateway.ready()

    def dialogue(self, gateway: Gateway, kind: str) -> list[str]:
        """The lines of it, without the peer; no secret and no word of mail is in the log."""
        log = gateway.output()
        for secret in (PASSWORD, BACKEND_PASSWORD):
            for form in (secret, *_encoded(secret)):
                self.assertNotIn(form, log)
        self.assertNotIn("private words", log)
        found = [match for match in map(DIALOGUE.search, log.splitlines()) if match]
        return [f"{match[3]}: {match[4]}" for match in found if match[1] == kind]

    async def until_closed(self, gateway: Gateway, kind: str, count: int = 1) -> list[str]:
        """The lines, once so many connections have ended."""

        def ended() -> bool:
            return (
                sum(line.startswith("-: closed") for line in self.dialogue(gateway, kind)) >= count
            )

        await gateway.until(ended, f"{count} shown {kind} connections closed")
        return self.dialogue(gateway, kind)

    async def test_client(self) -> None:
        """The dialogue of a client's connection, under TLS too; others and backends are not."""
        gateway = await self.running("127.0.0.9", files=CERTIFICATE)
        await deferToThread(deliver, gateway.port)
        await deferToThread(deliver, gateway.port, "127.0.0.9", True)
        lines = await self.until_closed(gateway, "client")
        self.assertEqual(lines[0], "-: connected")
        self.assertEqual(sum(line == "-: connected" for line in lines), 1)
        said = [line for line in lines if line[0] == "C"]
        self.assertEqual(
            [line.split(" FROM")[0].split(" TO")[0].upper() for line in said],
            [
                *("C: EHLO CLIENT.EXAMPLE.ORG", "C: STARTTLS", "C: EHLO CLIENT.EXAMPLE.ORG"),
                *("C: AUTH PLAIN ***", "C: MAIL", "C: RCPT", "C: DATA"),
                *(f"C: ({len(BODY)} OCTETS OF A MESSAGE)", "C: .", "C: QUIT"),
            ],
        )
        self.assertLessEqual({"-: TLS: TLSv1.3", "S: 250 2.0.0 Ok: taken"}, set(lines))
        self.assertEqual([], self.dialogue(gateway, "backend"))

    async def test_route(self) -> None:
        """The dialogues with the backends of a route; those of clients and other routes are not."""
        script = Script(
            extensions=("PIPELINING", "AUTH PLAIN"), replies={"AUTH": b"235 2.7.0 in\r\n"}
        )
        login = f"auth_type=plain\nauth_user=gw\nauth_pass={BACKEND_PASSWORD}\n"
        gateway = await self.running("default", script=script, login=login)
        await deferToThread(deliver, gateway.port)
        await deferToThread(deliver, gateway.port, to="b@other.example")
        await gateway.stop()
        lines = self.dialogue(gateway, "backend")
        self.assertIn("C: AUTH PLAIN ***", lines)
        self.assertIn("S: 235 2.7.0 in", lines)
        self.assertIn("C: MAIL FROM:<a@example.org>", lines)
        self.assertTrue(any("octets of a message" in line for line in lines), lines)
        self.assertEqual(lines[-1][:9], "-: closed")
        self.assertNotIn("other.example", "".join(lines))
        self.assertEqual(1, len(self.second.messages))
        self.assertEqual([], self.dialogue(gateway, "client"))

    async def test_option_and_reload(self) -> None:
        """``--debug-session`` lasts; what the file says holds from the next reading on."""
        gateway = await self.running("", "--debug-session", "127.0.0.9")
        await deferToThread(deliver, gateway.port, "127.0.0.9")
        await self.until_closed(gateway, "client")
        self.assertEqual([], self.dialogue(gateway, "backend"))
        self.assertEqual(1, gateway.output().count(" debug_session: dialogues are in the log"))
        # The connection to the backend is idle now: it is not used again.
        config = Path(gateway.folder) / "config" / "smtp.ini"
        config.write_text(config.read_text() + "debug_session=default\n")
        await gateway.until(
            lambda: "changed: debug_session" in gateway.output(), "the settings read again"
        )
        await deferToThread(deliver, gateway.port, "127.0.0.9")
        await self.until_closed(gateway, "client", 2)
        self.assertIn("C: MAIL FROM:<a@example.org>", " ".join(self.dialogue(gateway, "backend")))
        config.write_text(config.read_text().replace("debug_session=default\n", ""))
        await gateway.until(
            lambda: gateway.output().count("changed: debug_session") == 2, "read once more"
        )
        before = len(await self.until_closed(gateway, "backend"))
        await deferToThread(deliver, gateway.port)
        self.assertEqual(before, len(self.dialogue(gateway, "backend")))

    async def test_json(self) -> None:
        """In JSON it is by name; with workers as well."""
        for nodes in ("", "nodes=1\n"):
            gateway = await self.running(
                "127.0.0.9,default", files={"connection.ini": f"log_format=json\n{nodes}"}
            )
            await deferToThread(deliver, gateway.port, "127.0.0.9")
            await gateway.stop()
            found = [json.loads(line) for line in gateway.output().splitlines() if line[0] == "{"]
            said = [one for one in found if one.get("event") == "dialogue"]
            clients = [one for one in said if "client_ip" in one]
            self.assertEqual({"127.0.0.9"}, {one["client_ip"] for one in clients})
            self.assertIn(("C", "data"), [(one["who"], one["said"]) for one in clients])
            backends = [one for one in said if "backend" in one]
            self.assertIn("DATA", [one["said"] for one in backends])

    async def test_wrong(self) -> None:
        """A route that is not there stops the start, with what would be right."""
        for named, options, remedy in (
            ("othre.example", (), "smtp.ini:2: debug_session: there is no section othre.example; a"
             " section of smtp_forward.ini, or default; did you mean other.example?"),
            ("", ("--debug-session", "nowhere.example"), "--debug-session: there is no section"),
            ("", ("--debug-session", "192.0.2.0/99"), "--debug-session: '192.0.2.0/99' is wrong"),
        ):  # fmt: skip
            self.assertIn(remedy, await self.refused(named, options))

    async def refused(self, named: str, options: Sequence[str]) -> str:
        """What a gateway says that does not start."""
        port = free_port()
        directory = {**three_files(port, 25), "me": f"{ME}\n"}
        directory["smtp_forward.ini"] += "[other.example]\n"
        directory["smtp.ini"] += f"debug_session={named}\n" if named else ""
        gateway = Gateway(self.folder(), directory, port, *options)
        self.stop_later(gateway.stop)
        self.assertEqual(78, await gateway.ended())
        return gateway.output()


def _encoded(secret: str) -> list[str]:
    users = ("", "ann", "gw")
    return [
        base64.b64encode(text.encode()).decode()
        for text in (secret, *(f"\0{user}\0{secret}" for user in users))
    ]
