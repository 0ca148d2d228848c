"""``/api`` without sockets: which path leads where, what is refused, and what goes wrong."""

import io
import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import NOT_DONE_YET
from twisted.web.test.requesthelper import DummyRequest

from smtpforward.questions import Refused
from smtpforward.web.api import API, AT_ONCE, MOST_IDS
from smtpforward.web.overview import RefusedError

GOOD = {"content-type": "application/json", "x-smtpforward": "1"}


class Overview:
    """Notes what it is asked, and answers when the test says so."""

    may_change = True

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answers: list[Deferred[Any]] = []

    def __getattr__(self, name: str) -> Any:
        """Any question."""

        async def answer(*about: Any, **named: Any) -> Any:
            self.asked.append((name, *about, *named.values()))
            waiting: Deferred[Any] = Deferred()
            self.answers.append(waiting)
            return await waiting

        return answer


class Events:
    """Has room, or not."""

    room = True

    def join(self, request: Any) -> bool:
        """See Events."""
        return self.room


class APITests(SynchronousTestCase):
    """Requests."""

    def setUp(self) -> None:
        """Nobody has asked."""
        self.overview: Any = Overview()
        self.events: Any = Events()
        self.api = API(self.overview, self.events, False, "mx.example.net")

    def ask(
        self, path: str, method: bytes = b"GET", body: bytes = b"", host: str = "127.0.0.1",
        args: dict[bytes, list[bytes]] | None = None, **headers: str,
    ) -> Any:  # fmt: skip
        """A request that was rendered."""
        request: Any = DummyRequest([])
        request.postpath = [part.encode() for part in path.split("/")]
        request.method, request.path, request.args = method, b"/api/" + path.encode(), args or {}
        request.content = io.BytesIO(body)
        for name, value in {"host": host, **headers}.items():
            request.requestHeaders.setRawHeaders(name.replace("_", "-"), [value])
        rendered = self.api.render(request)
        if rendered is not NOT_DONE_YET:
            request.write(rendered)
            request.finish()
        return request

    def refused(self, path: str, **how: Any) -> int:
        """The code of a request that is not answered; nobody was asked."""
        before = len(self.overview.asked)
        request = self.ask(path, **how)
        self.assertEqual(list(json.loads(b"".join(request.written))), ["error"])
        self.assertEqual(len(self.overview.asked), before)
        code: int = request.responseCode
        return code

    def test_paths(self) -> None:
        """Each leads to what it is for."""
        for path, asked in {
            "status": ("status",),
            "transactions": ("transactions", "", 100),
            "transactions/1F": ("transaction", "1F"),
            "queue": ("entries", "", "", "", 100, ""),
            "queue/1F": ("queued", "1F"),
            "queue/delete": ("queued", "delete"),
        }.items():
            request = self.ask(path)
            self.assertEqual(self.overview.asked.pop(), asked)
            self.overview.answers.pop().callback({"a": 1})
            self.assertEqual(b"".join(request.written), b'{"a": 1}\n')
            self.assertEqual(request.responseCode, 200)
            [kept] = request.responseHeaders.getRawHeaders(b"cache-control")
            self.assertEqual(kept, b"no-store")

    def test_parameters(self) -> None:
        """What is looked for, and how much of it."""
        self.ask("transactions", args={b"search": [b" Ann "], b"limit": [b"5"]})
        self.assertEqual(self.overview.asked.pop(), ("transactions", "Ann", 5))
        self.ask("queue", args={b"state": [b"held"], b"sender": [b"<>"], b"after": [b"1.5:7"]})
        self.assertEqual(self.overview.asked.pop(), ("entries", "held", "", "<>", 100, "1.5:7"))

    def test_wrong_parameters(self) -> None:
        """400."""
        for path, name, value in (
            ("transactions", b"limit", b"501"), ("transactions", b"limit", b"-1"),
            ("transactions", b"limit", b"9" * 300), ("transactions", b"search", b"\xff"),
            ("transactions", b"search", b"x" * 400), ("queue", b"state", b"gone"),
            ("queue", b"sender", b"ann"), ("queue", b"after", b"1"), ("queue", b"after", b"nan:1"),
            ("queue", b"after", b"1:" + b"9" * 19), ("queue", b"after", b"1e99:1;"),
        ):  # fmt: skip
            self.assertEqual(self.refused(path, args={name: [value]}), 400, (name, value))

    def test_nothing_there(self) -> None:
        """404, and 405 for other methods."""
        for path in ("", "x", "status/x", "transactions/", "queue/1/2", "queue/", "events/x"):
            self.assertEqual(self.refused(path), 404, path)
        for path in ("status", "transactions/1F", "queue", "events"):
            self.assertEqual(self.refused(path, method=b"POST"), 405, path)
        self.assertEqual(self.refused("queue/hold", method=b"DELETE"), 405)
        self.assertEqual(self.refused("queue/x", method=b"POST", **GOOD), 404)

    def test_other_names(self) -> None:
        """Without a login this host has to be named as no other site can be; with one not."""
        self.assertEqual(self.refused("status", host="evil.example"), 403)
        self.assertEqual(self.refused("events", host="evil.example"), 403)
        self.api = API(self.overview, self.events, True, "mx.example.net")
        self.ask("status", host="evil.example")
        self.assertEqual(self.overview.asked, [("status",)])

    def test_change(self) -> None:
        """What to do, to which ids, each once."""
        for what in ("retry", "hold", "release", "delete"):
            self.ask(f"queue/{what}", b"POST", b'{"ids": ["B", "A", "B"]}', **GOOD)
            self.assertEqual(self.overview.asked.pop(), ("change", what, ["B", "A"]))

    def test_no_change(self) -> None:
        """Not without the setting, from other sites, without ids, or with very many."""
        good: dict[str, Any] = {"method": b"POST", "body": b'{"ids": ["A"]}', **GOOD}
        for changes, code in (
            ({"x-smtpforward": "0"}, 403), ({"origin": "http://evil.example"}, 403),
            ({"body": b'{"ids": []}'}, 400), ({"body": b'{"ids": {"A": 1}}'}, 400),
            ({"body": b'{"ids": "AB"}'}, 400), ({"body": b'{"ids": ["\\ud800"]}'}, 400),
            ({"body": b'{"ids": [["A"]]}'}, 400), ({"body": b"[" * 60_000}, 400),
            ({"body": json.dumps({"ids": list(map(str, range(MOST_IDS + 1)))}).encode()}, 400),
        ):  # fmt: skip
            self.assertEqual(self.refused("queue/delete", **{**good, **changes}), code, changes)
        self.overview.may_change = False
        self.assertEqual(self.refused("queue/delete", **good), 403)

    def test_busy(self) -> None:
        """So many are answered at once; an answer makes room, and so does a fault."""
        for _ in range(AT_ONCE):
            self.ask("status")
        self.assertEqual(self.refused("status"), 503)
        self.assertEqual(
            self.refused("queue/hold", method=b"POST", body=b'{"ids": ["A"]}', **GOOD), 503
        )
        self.overview.answers[0].callback({})
        self.overview.answers[1].errback(RefusedError(Refused(404, "x")))
        for _ in range(2):
            self.ask("status")
        self.assertEqual(len(self.overview.asked), AT_ONCE + 2)
        self.assertEqual(self.refused("status"), 503)

    def test_no_room_for_listeners(self) -> None:
        """503."""
        self.events.room = False
        self.assertEqual(self.refused("events"), 503)

    def test_head(self) -> None:
        """The headers alone."""
        request = self.ask("status", b"HEAD")
        self.overview.answers[0].callback({"a": 1})
        self.assertEqual((request.written, request.finished), ([], 1))

    def test_refused(self) -> None:
        """What a process refuses has its code and its words."""
        request = self.ask("queue")
        self.overview.answers[0].errback(RefusedError(Refused(503, "not now")))
        self.assertEqual(request.responseCode, 503)
        self.assertEqual(json.loads(request.written[0]), {"error": "not now"})

    def test_fault(self) -> None:
        """500, with a traceback in the log and not in the answer."""
        request = self.ask("status")
        self.overview.answers[0].errback(ZeroDivisionError("secret"))
        self.assertEqual(request.responseCode, 500)
        self.assertNotIn(b"secret", request.written[0])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_asker_goes(self) -> None:
        """A change goes on, and nobody is told."""
        request = self.ask("queue/hold", b"POST", b'{"ids": ["A"]}', **GOOD)
        request.processingFailed(Failure(ConnectionLost()))
        self.assertFalse(self.overview.answers[0].called)
        self.overview.answers[0].callback({"changed": 1})
        self.assertEqual((request.written, request.finished), ([], 0))
