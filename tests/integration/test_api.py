"""``/api`` of a real gateway, over HTTP, while mail passes."""

import http.client
import json
import re
import smtplib
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.threads import deferToThread

from smtpforward.web.events import MOST
from tests.integration.test_logs import deliver
from tests.integration.test_metrics import Answer, MetricsCase, fetch
from tests.peers.gateway import ME, Gateway
from tests.peers.ports import free_port
from tests.peers.script import Script


class APICase(MetricsCase):
    """Asks a gateway that shows itself."""

    async def told(self, path: str, code: int = 200) -> Any:
        """What ``path`` gives."""
        answer = await self.get(path)
        self.assertEqual(code, answer.code, answer.body)
        return json.loads(answer.body)


class TransactionsTests(APICase):
    """What has passed."""

    async def test_mail(self) -> None:
        """Each transaction is there with what its sender heard, the newest first."""
        gateway = await self.shown()
        await deferToThread(deliver, gateway.port)
        found = (await self.told("/api/transactions"))["transactions"]
        self.assertEqual(
            ["refused", "refused", "deferred", "bounced", "sent"],
            [one["status"] for one in found],
        )
        self.assertEqual(["bare_newline", "relaying"], [one["rule"] for one in found[:2]])
        sent = found[-1]
        self.assertEqual(
            ("sender@example.org", ["rcpt@example.com"], 1),
            (sent["from"], sent["to"], sent["recipients"]),
        )
        self.assertEqual(f"127.0.0.1[127.0.0.1]:{self.taken.port}", sent["relay"])
        self.assertTrue(sent["reply"].startswith("250 "), sent)
        for search, count in {
            sent["id"]: 1, "RCPT@": 2, "elsewhere": 1, "127.0.0.1": 5, "sender@": 5, "none@": 1,
        }.items():  # fmt: skip
            found = (await self.told(f"/api/transactions?search={search}"))["transactions"]
            self.assertEqual(count, len(found), search)
        [told] = (await self.told("/api/transactions?limit=1"))["transactions"]
        self.assertEqual("refused", told["status"])
        timeline = await self.told(f"/api/transactions/{sent['id']}")
        self.assertEqual(["received", "forwarded"], [e["event"] for e in timeline["events"]])
        self.assertEqual("nothing is known of this id, or not any more",
                         (await self.told("/api/transactions/ABC", 404))["error"])  # fmt: skip

    async def test_status(self) -> None:
        """The numbers are those of the metrics."""
        gateway = await self.shown()
        await deferToThread(deliver, gateway.port)
        status = await self.told("/api/status")
        backend = f"127.0.0.1:{self.taken.port}"
        self.assertEqual((True, [], 0), (status["ready"], status["reasons"], status["workers"]))
        self.assertEqual(
            [("up", 1, 1, 1, 1000)],
            [
                (b["health"], b["sent"], b["deferred"], b["bounced"], b["limit"])
                for b in status["backends"]
                if b["backend"] == backend
            ],
        )
        self.assertIn({"backend": backend, "status": "sent", "count": 1}, status["transactions"])
        self.assertEqual({"relaying": 1, "bare_newline": 1}, status["refusals"])
        self.assertEqual(2, status["connections"]["total"])
        self.assertIsNone(status["queue"])
        self.assertEqual(
            [{"name": "default", "queue": "forward", "own_host": False, "backends": [backend]}],
            status["routes"],
        )


class QueueTests(APICase):
    """The outbound queue, of one process and of workers."""

    async def queueing(self, more: str = "queue_changes=true\n", nodes: int = 0) -> Gateway:
        """It runs; the host that all mail is queued for says to come later."""
        late = self.backend(Script(replies={"RCPT": b"450 4.2.0 come later\r\n"}))
        host = f"smart_host=127.0.0.1:{late.port}\nenable_tls=false\n"
        store = f"store=sqlite:{self.folder() / 'queue.sqlite3'}\n"
        files = {
            "outbound.ini": f"{store}{host}temp_fail_intervals=1h*3\n",
            "relay_acl_allow": "127.0.0.0/8\n",
            "connection.ini": f"nodes={nodes}\n",
        }
        gateway = await self.shown(files, more)
        if nodes:
            begun = lambda: gateway.output().count("forwards to")  # noqa: E731
            await gateway.until(lambda: begun() == nodes, "all workers")
        return gateway

    async def shown(self, files: Mapping[str, str] | None = None, more: str = "") -> Gateway:
        """All mail of who relays is queued."""
        self.page, self.taken = free_port(), self.backend(Script())
        directory = {"http.ini": f"listen=127.0.0.1:{self.page}\n{more}", **(files or {})}
        gateway = await self.gateway(self.taken.port, directory, enable_outbound="false")
        await gateway.until_listening(self.page)
        return gateway

    async def send(self, gateway: Gateway, *to: str) -> str:
        """A message to each, one after the other; the id of the last one."""
        return await deferToThread(_send, gateway.port, to)

    async def entries(self, more: str = "") -> list[dict[str, Any]]:
        """All entries of the queue, page by page."""
        found, after = [], ""
        while True:
            page = await self.told(f"/api/queue?limit=2{more}&after={after}")
            found += page["entries"]
            if page["next"] is None:
                return found
            after = page["next"]

    async def change(self, what: str, *ids: str, code: int = 200, **headers: str) -> Any:
        """What comes of a change."""
        answer = await deferToThread(post, self.page, what, ids, headers)
        self.assertEqual(code, answer.code, answer.body)
        return json.loads(answer.body)

    async def check_queue(self, nodes: int = 0) -> None:
        """It is listed, shown, changed, and the way of a message is told."""
        gateway = await self.queueing(nodes=nodes)
        await self.send(gateway, *(f"n{number}@example.org" for number in range(4)))
        id = await self.send(gateway, "last@example.org")
        await gateway.until(lambda: gateway.output().count("attempts=1") == 5, "all attempts")
        entries = await self.entries()
        self.assertEqual(5, len({entry["id"] for entry in entries}))
        self.assertEqual(5, len(await self.entries("&state=deferred")))
        self.assertEqual([], await self.entries("&state=held"))
        self.assertEqual(5, len(await self.entries("&sender=@example.net")))
        self.assertEqual([], await self.entries("&destination=nowhere"))
        timeline = await self.told(f"/api/transactions/{id}")
        self.assertEqual(
            ["received", "queued", "attempt"], [event["event"] for event in timeline["events"]]
        )
        self.assertEqual(
            ["deferred", ["last@example.org"]],
            [timeline["events"][2]["status"], timeline["events"][2]["to"]],
        )
        self.assertEqual(timeline["queue"], await self.told(f"/api/queue/{id}"))
        self.assertEqual(1, len(timeline["queue"]["attempts"]))
        await self.told("/api/queue/ABC", 404)
        status = await self.told("/api/status")
        self.assertEqual((5, True, True), tuple(
            status["queue"][name] for name in ("messages", "open", "may_change")))  # fmt: skip
        self.assertEqual(nodes, status["workers"])
        for what, state, messages in (
            ("hold", "held", 5), ("release", "due", 5), ("hold", "held", 5), ("delete", "", 4),
        ):  # fmt: skip
            self.assertEqual({"changed": 1}, await self.change(what, id), what)
            if state == "held":
                [held] = await self.entries("&state=held")
                self.assertEqual(id, held["id"])
            status = await self.told("/api/status")
            self.assertEqual(messages, status["queue"]["messages"], what)
        # What has become due is attempted, at once.
        await self.change("retry", entries[0]["id"])
        again = re.compile(rf"id={entries[0]['id']} .* attempts=2 ")
        await gateway.until(lambda: again.search(gateway.output()), "a second attempt")

    async def test_one_process(self) -> None:
        """Of one process."""
        await self.check_queue()

    async def test_workers(self) -> None:
        """Of two workers, through the parent."""
        await self.check_queue(2)

    async def test_not_changed(self) -> None:
        """Without the setting, or from another site, nothing changes."""
        gateway = await self.queueing("")
        id = await self.send(gateway, "a@example.org")
        told = await self.change("delete", id, code=403)
        self.assertIn("queue_changes", told["error"])
        self.assertEqual(1, len(await self.entries()))

    async def test_cross_site(self) -> None:
        """What a page of another site can send changes nothing."""
        gateway = await self.queueing()
        id = await self.send(gateway, "a@example.org")
        for headers in (
            {"X-Smtpforward": ""},
            {"Content-Type": "text/plain"},
            {"Content-Type": "application/x-www-form-urlencoded"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://127.0.0.1:1"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Host": "evil.example"},
        ):
            await self.change("delete", id, code=403, **headers)
        self.assertEqual(1, len(await self.entries()))
        own = f"http://127.0.0.1:{self.page}"
        headers = {"Origin": own, "Sec-Fetch-Site": "same-origin"}
        self.assertEqual({"changed": 1}, await self.change("delete", id, code=200, **headers))

    async def test_bodies(self) -> None:
        """One that is wrong says so; none of them means the whole queue."""
        gateway = await self.queueing()
        await self.send(gateway, "a@example.org")
        await gateway.until(lambda: "attempts=1" in gateway.output(), "an attempt")
        await self.change("delete", code=400)
        for body in (b"", b"[]", b"{}", b'{"ids": "A"}', b'{"ids": [1]}', b'{"ids": null}', b"["):
            answer = await deferToThread(post, self.page, "delete", (), {}, body)
            self.assertEqual(400, answer.code, body)
        answer = await deferToThread(post, self.page, "delete", (), {}, b" " * 100_000)
        self.assertIn(answer.code, (413, 0))
        self.assertEqual({"changed": 0}, await self.change("delete", "ABC"))
        self.assertEqual(1, len(await self.entries()))
        await self.change("explode", "ABC", code=404)
        for query in ("limit=0", "limit=x", "state=x", "sender=x", "after=x", "sender=%ff"):
            await self.told(f"/api/queue?{query}", 400)


class EventsTests(APICase):
    """``/api/events``."""

    async def test_stream(self) -> None:
        """A status at once, and what ends as it ends."""
        gateway = await self.shown()
        listener = Listener(self.page)
        self.addCleanup(listener.close)
        name, status = await deferToThread(listener.event)
        self.assertEqual(("status", True), (name, status["ready"]))
        await deferToThread(deliver, gateway.port)
        ended: list[Any] = []
        while len(ended) < 5:
            name, told = await deferToThread(listener.event)
            if name == "transactions":
                ended += told["transactions"]
        listed = (await self.told("/api/transactions"))["transactions"]
        self.assertEqual(sorted(one["id"] for one in listed), sorted(one["id"] for one in ended))

    async def test_workers(self) -> None:
        """Of all workers: no transaction twice, none left out."""
        gateway = await self.shown({"connection.ini": "nodes=2\n"})
        await gateway.until(lambda: gateway.output().count("forwards to") == 2, "two workers")
        listener = Listener(self.page)
        self.addCleanup(listener.close)
        await deferToThread(listener.event)
        for _ in range(3):
            await deferToThread(deliver, gateway.port)
        ended: list[str] = []
        while len(ended) < 15:
            name, told = await deferToThread(listener.event)
            if name == "transactions":
                ended += [one["id"] for one in told["transactions"]]
        self.assertEqual(15, len(set(ended)))

    async def test_too_many(self) -> None:
        """There are so many listeners; who goes makes room. The end of the gateway ends all."""
        gateway = await self.shown()
        listeners = [Listener(self.page) for _ in range(MOST)]
        for listener in listeners:
            self.addCleanup(listener.close)
            await deferToThread(listener.event)
        await self.told("/api/events", 503)
        listeners[0].close()
        again = Listener(self.page)
        self.addCleanup(again.close)
        while again.code != 200:
            again.close()
            again = Listener(self.page)
            self.addCleanup(again.close)
        await gateway.stop()
        with self.assertRaises(EOFError):
            while True:
                await deferToThread(listeners[1].event)


class LoginTests(APICase):
    """Who may see it."""

    async def test_login(self) -> None:
        """With a login, all of it is behind that; health is not."""
        await self.shown(more="user=ann\npassword=a secret\n")
        for path in ("/", "/static/page.js", "/api/status", "/api/transactions", "/api/events"):
            self.assertEqual(401, (await self.get(path)).code, path)
        self.assertEqual(200, (await self.get("/api/status", "ann:a secret")).code)
        self.assertEqual(200, (await self.get("/healthz")).code)

    async def test_rebinding(self) -> None:
        """Without one a name that may be another site's gets nothing; with one it does."""
        await self.shown()
        for host, code in {
            "evil.example": 403, "127.0.0.1": 200, "localhost:1": 200, "[::1]:80": 200, ME: 200,
        }.items():  # fmt: skip
            answer = await deferToThread(fetch, self.page, "/api/status", host=host)
            self.assertEqual(code, answer.code, host)


class Listener:
    """Reads server-sent events. Its methods are for a thread."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.request("GET", "/api/events")
        self._answer = self._connection.getresponse()
        self.code = self._answer.status

    def event(self) -> tuple[str, Any]:
        """The next one's name and data.

        :raise EOFError: at the end.
        """
        name = ""
        while line := self._answer.readline().decode():
            key, _, value = line.rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                return name, json.loads(value)
        raise EOFError

    def close(self) -> None:
        """Go."""
        self._answer.close()
        self._connection.close()


def _send(port: int, to: Sequence[str]) -> str:
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", 30.0) as client:
        said = b""
        for one in to:
            client.ehlo_or_helo_if_needed()
            client.mail("ann@example.net")
            client.rcpt(one)
            _, said = client.data(b"Subject: x\r\n\r\nhello\r\n")
        return said.decode().split()[-1].strip("[]")


def post(
    port: int, what: str, ids: Sequence[str], headers: Mapping[str, str], body: bytes | None = None
) -> Answer:
    """The answer to a change; code 0 where the connection was cut off. For a thread."""
    sent = json.dumps({"ids": list(ids)}).encode() if body is None else body
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/api/queue/{what}", sent)
    for name, value in {
        "Content-Type": "application/json", "X-Smtpforward": "1", **headers
    }.items():  # fmt: skip
        asked.add_header(name, value)
    try:
        with urllib.request.urlopen(asked, timeout=10.0) as answer:
            return Answer(answer.status, answer.read().decode())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.read().decode())
    except (urllib.error.URLError, ConnectionError):
        return Answer(0, "")
