"""``smtpforward trace`` as an operator runs it: real gateways, their logs, their queue."""

import gzip
import json
import re
import smtplib
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.integration.test_status_command import CommandProcessCase
from tests.peers.gateway import Gateway
from tests.peers.ports import free_port
from tests.peers.script import Script, by_recipient

FORMATS = ("line", "postfix", "json")
GIVEN_UP = b"550 5.1.1 no such user\r\n"
LATER = b"451 4.7.1 not now\r\n"


def send(port: int, to: str, sender: str = "ann@example.org") -> str:
    """One message; what the gateway has answered. For a thread."""
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", 30.0) as client:
        client.ehlo()
        client.docmd("MAIL", f"FROM:<{sender}>")
        code, text = client.docmd("RCPT", f"TO:<{to}>")
        if code == 250:
            code, text = client.data("Subject: x\r\n\r\nhello\r\n")
        return f"{code} {text.decode()}"


class TraceTests(CommandProcessCase):
    """By id, from each source."""

    async def gateway_with(self, log_format: str = "line", **files: str) -> Gateway:
        """A gateway that shows itself; what it takes has the id ``4A`` at the backend."""
        self.page = free_port()
        self.script = Script(
            replies={
                ".": b"250 2.0.0 Ok: queued as 4bXc9d\r\n",
                "RCPT": by_recipient(nobody=GIVEN_UP),
            }
        )
        self.taken = self.backend(self.script)
        gateway = await self.gateway(
            self.taken.port,
            {
                "http.ini": f"listen=127.0.0.1:{self.page}\n",
                "connection.ini": f"log_format={log_format}\n",
                "relay_acl_allow": "",
                "host_list": "example.com\n",
                **files,
            },
        )
        await gateway.until_listening(self.page)
        return gateway

    async def queueing(self, log_format: str = "line") -> tuple[Gateway, Path]:
        """One that queues all, and where its queue is; the smart host refuses nobody@."""
        port = free_port()
        store = self.folder() / "queue.sqlite3"
        self.smart = self.backend(
            Script(replies={"RCPT": by_recipient(nobody=GIVEN_UP, carl=LATER)})
        )
        gateway = await self.gateway_with(
            log_format,
            **{
                "relay_acl_allow": "127.0.0.0/8\n",
                "smtp_forward.ini": f"host=127.0.0.1\nport={port}\nenable_outbound=false\n",
                "outbound.ini": f"store=sqlite:{store}\nsmart_host=127.0.0.1:{self.smart.port}\n"
                "enable_tls=false\ntemp_fail_intervals=1h\n",
            },
        )
        return gateway, store

    def log_of(self, gateway: Gateway) -> str:
        """Its log so far, in a file of its own."""
        path = gateway.folder / "mail.log"
        path.write_text(gateway.output(), "utf-8")
        return str(path)

    async def traced(self, gateway: Gateway, *words: str, code: int = 0) -> Any:
        """The document of a trace."""
        ended, out, err = await self.command(gateway, "trace", "--json", *words)
        self.assertEqual(code, ended, (out, err))
        self.err = err
        return json.loads(out)

    async def until_said(self, gateway: Gateway, *texts: str) -> None:
        """Return once one of ``texts`` is in the log."""
        await gateway.until(
            lambda: any(text in gateway.output() for text in texts), f"{texts} in the log"
        )

    def kinds(self, document: Any) -> list[str]:
        """What has happened, in order."""
        return [event["event"] for event in document["events"]]

    async def test_forwarded(self) -> None:
        """By the gateway and by a log in each format: one story, told once; also when packed."""
        for log_format in FORMATS:
            gateway = await self.gateway_with(log_format)
            await deferToThread(send, gateway.port, "bob@example.com")
            await self.until_said(gateway, "4bXc9d")
            [one] = (json.loads((await self.get("/api/transactions")).body))["transactions"]
            id, log = one["id"], self.log_of(gateway)
            document = await self.traced(gateway, id, "--log", log)
            self.assertEqual(["received", "forwarded"], self.kinds(document), log_format)
            for event in document["events"]:
                self.assertEqual({"gateway", log}, set(event["sources"]), log_format)
            self.assertEqual("250 2.0.0 Ok: queued as 4bXc9d", document["events"][1]["reply"])
            await gateway.stop()
            with gzip.open(f"{log}.2.gz", "wt") as packed:
                packed.write(Path(log).read_text())
            Path(log).write_text("")
            # By the id that the backend gave it, from the packed log, with nobody to ask.
            document = await self.traced(gateway, "4bXc9d", "--log", log)
            self.assertEqual([id], document["ids"], log_format)
            self.assertIn("the gateway is not asked: no gateway answers", self.err)
            self.assertEqual("received", self.kinds(document)[0])
            self.assertEqual(["bob@example.com"], document["events"][-1]["to"])

    async def test_refused(self) -> None:
        """By what the sender has heard: the answer names the id."""
        for log_format in FORMATS:
            gateway = await self.gateway_with(log_format)
            answer = await deferToThread(send, gateway.port, "x@elsewhere.example")
            self.assertRegex(answer, r"^550 5\.7\.1 .* \[[0-9A-F]+\]$")
            document = await self.traced(gateway, answer, "--log", self.log_of(gateway))
            self.assertEqual(["refused"], self.kinds(document), log_format)
            [event] = document["events"]
            self.assertEqual(["x@elsewhere.example"], event["to"])
            self.assertEqual(2, len(event["sources"]), (log_format, gateway.output()))
            await gateway.stop()

    async def test_bounce(self) -> None:
        """By the id of a bounce or by that of what it is about: the whole story of both."""
        for log_format in FORMATS:
            gateway, _ = await self.queueing(log_format)
            await deferToThread(send, gateway.port, "nobody@far.example")
            await self.smart.until_taken(1)  # the bounce
            await self.until_said(gateway, "status=sent", '"sent"')
            bounce = self.smart.messages[0].plain.decode()
            log = self.log_of(gateway)
            [original] = re.findall(r"gave\s+it\s+the\s+id\s+([0-9A-F]+)\.", bounce)
            [own] = re.findall(r"(?m)^Message-ID: (<[0-9A-F]+@\S+>)\r?$", bounce)[:1]
            first = await self.traced(gateway, original, "--log", log)
            second = await self.traced(gateway, own, "--log", log)
            for document in (first, second):
                self.assertEqual(
                    {original, own[1:].partition("@")[0]}, set(document["ids"]), log_format
                )
                kinds = self.kinds(document)
                self.assertEqual("received", kinds[0], kinds)
                self.assertEqual(2, kinds.count("attempt"), document)
                self.assertEqual(1, kinds.count("bounce"), document)
            await gateway.stop()

    async def test_queued(self) -> None:
        """What waits in the queue is told by it, also when the gateway is down, and no log is."""
        gateway, _ = await self.queueing()
        answer = await deferToThread(send, gateway.port, "carl@far.example")
        self.assertTrue(answer.startswith("250 "), answer)
        await gateway.until(lambda: "status=deferred" in gateway.output(), "an attempt")
        [id] = set(re.findall(r"id=([0-9A-F]+) .*status=queued", gateway.output()))
        document = await self.traced(gateway, id, "--log", self.log_of(gateway))
        self.assertEqual(["received", "queued", "attempt"], self.kinds(document))
        self.assertEqual(3, len(document["events"][2]["sources"]), document)
        [entry] = document["queue"][id]["entries"]
        self.assertEqual("deferred", entry["state"])
        await gateway.stop()
        document = await self.traced(gateway, id)
        self.assertEqual(["received", "attempt"], self.kinds(document))
        code, out, _ = await self.command(gateway, "trace", id)
        self.assertEqual(0, code)
        self.assertRegex(out, r"received   from <ann@example\.org>, to <carl@far\.example>, ")
        self.assertRegex(out, r"attempt    <carl@far\.example>: deferred by .*\(451 4\.7\.1 ")
        self.assertIn(f"in the queue: {id} to ", out)
        self.assertTrue(out.endswith("told by: queue\n"), out)

    async def test_unknown(self) -> None:
        """Where nothing is known the exit code is 1, and nothing is made up."""
        gateway, store = await self.queueing()
        await deferToThread(send, gateway.port, "bob@example.com")
        log = self.log_of(gateway)
        document = await self.traced(gateway, "ABC123", "--log", log, code=1)
        self.assertEqual([], document["events"])
        self.assertEqual("ABC123: nothing is known of it, or not any more\n", self.err)
        await gateway.stop()
        for file in store.parent.glob("queue.sqlite3*"):
            if file.is_file():
                file.unlink()
        code, out, err = await self.command(gateway, "trace", "ABC123")
        self.assertEqual((1, ""), (code, out), err)
        self.assertFalse(store.exists())
