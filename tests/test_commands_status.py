"""What ``smtpforward status`` makes of the API's document."""

import io
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.commands.colours import GOOD, Colours, colours
from smtpforward.commands.status.view import lines
from smtpforward.config.listen import Door, door
from tests.test_commands_check import CommandCase

STATUS: dict[str, Any] = {
    "now": 1000000.0,
    "started": 1000000.0 - 7300,
    "version": "1.2",
    "hostname": "mail.example",
    "ready": False,
    "reasons": ["no backend\nforged line"],
    "workers": 2,
    "connections": {"open": 3, "total": 9, "refused": {"connections": 1}},
    "transactions": [
        {"backend": "a:25", "status": "sent", "count": 4},
        {"backend": "none", "status": "bounced", "count": 1},
        {"backend": "b:25", "status": "sent", "count": 2},
    ],
    "deliveries": [{"backend": "c:25", "status": "deferred", "count": 5}],
    "refusals": {"relaying": 2, "bytes": 7},
    "bytes": 4200,
    "tls": {},
    "failed_logins": 0,
    "history": {"step": 10.0, "end": 1000000.0, "accepted": [1, 2], "deferred": [0, 0],
                "refused": [4, 0], "delivered": [0, 1]},
    "routes": [],
    "backends": [
        {"backend": "a.example:25", "health": "up", "why": None, "since": None, "connecting": 0,
         "idle": 1, "busy": 2, "closing": 0, "waiting": 0, "limit": None, "sent": 4,
         "deferred": 0, "bounced": 0},
        {"backend": "b:25", "health": "resting", "why": "refused\x1b[2J", "since": 1.0,
         "connecting": 0, "idle": 0, "busy": 0, "closing": 0, "waiting": 7, "limit": 10, "sent": 2,
         "deferred": 0, "bounced": 0},
    ],
    "queue": {"messages": 1, "bytes": 812, "oldest": 60.0, "open": True, "may_change": False,
              "entries": {"due": 1, "deferred": 2, "held": 3, "leased": 4},
              "destinations": [{"destination": "example.org", "entries": 10}]},
    "certificates": [{"certificate": "mail.example", "expires": 999999.0}],
    "problems": ["smtp.ini:1: wrong"],
    "reloads": {"good": 1, "bad": 2},
}  # fmt: skip


class ViewTests(SynchronousTestCase):
    """Lines."""

    def test_all(self) -> None:
        """All that it holds, in columns; nothing in it breaks a line or moves the cursor."""
        said = list(lines(STATUS, Colours(False)))
        for line in (
            "mail.example  NOT READY  smtpforward 1.2, 2 workers, up 2 h",
            "  no backend\\nforged line",
            "connections    3 open, 9 in all; turned away: connections 1",
            "mail           6 sent, 0 queued, 0 deferred, 1 bounced; 4.1KB taken",
            "from the queue 0 sent, 0 queued, 5 deferred, 0 bounced (recipients)",
            "last 30 min    3 accepted, 0 deferred, 4 refused, 1 delivered",
            "refused        bytes 7, relaying 2",
            "settings read  1 good, 2 bad",
            "1 message, 812B, the oldest 60 s, 1 due, 2 deferred, 3 held, 4 leased",
            "  example.org      10",
            "mail.example 1970-01-12 13:46:39Z has expired",
            "problem: smtp.ini:1: wrong",
        ):
            self.assertIn(line.replace("60 s", "1 min"), said)
        head = next(line for line in said if line.startswith("BACKEND"))
        rows = [line for line in said if line.startswith(("a.example:25", "b:25"))]
        self.assertEqual(rows[1].split()[:2], ["b:25", "resting"])
        self.assertTrue(rows[1].endswith(" refused\\x1b[2J"), rows[1])
        limits = [row[: head.index("LIMIT") + 5].split()[-1] for row in rows]
        self.assertEqual(["-", "10"], limits)
        self.assertNotIn("\x1b", "".join(said))

    def test_width(self) -> None:
        """What can be long is cut to the terminal."""
        long = {**STATUS, "refusals": {f"rule{n}": 1 for n in range(50)}}
        said = list(lines(long, Colours(False), 80))
        refused = next(line for line in said if line.startswith("refused"))
        self.assertEqual(80, len(refused))

    def test_no_queue(self) -> None:
        """Without a queue there is nothing of it; one that cannot be used says so."""
        text = "\n".join(lines({**STATUS, "queue": None}, Colours(False)))
        self.assertNotIn("QUEUE", text)
        self.assertNotIn("from the queue", text)
        shut = {**STATUS, "queue": {**STATUS["queue"], "open": False, "destinations": []}}
        self.assertIn("the store cannot be used", list(lines(shut, Colours(False))))

    def test_colours(self) -> None:
        """At a terminal, unless it is told not to."""

        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        for stream, environ, expected in (
            (Terminal(), {}, "\x1b[32mx\x1b[0m"),
            (Terminal(), {"NO_COLOR": "1"}, "x"),
            (Terminal(), {"TERM": "dumb"}, "x"),
            (io.StringIO(), {}, "x"),
        ):
            self.assertEqual(expected, colours(stream, environ)(GOOD, "x"))


class DoorTests(SynchronousTestCase):
    """Where a listener is reached."""

    def test_each(self) -> None:
        """Loopback for all addresses; nothing for what only systemd knows."""
        for description, place in {
            "tcp:8026:interface=127.0.0.1": Door("127.0.0.1", 8026),
            "tcp:8026": Door("127.0.0.1", 8026),
            "tcp6:80:interface=\\:\\:": Door("::1", 80),
            "tcp6:80:interface=2001\\:db8\\:\\:1": Door("2001:db8::1", 80),
            "unix:/run/http": Door(path="/run/http"),
            "tcp:0:interface=127.0.0.1": None,
            "systemd:domain=INET:index=0": None,
        }.items():
            self.assertEqual(place, door(description), description)
        self.assertEqual("[::1]:80", str(Door("::1", 80)))


class ArgumentsTests(CommandCase):
    """The command line."""

    def test_interval(self) -> None:
        """A number of seconds that can be waited."""
        for text in ("0", "x", "nan", "1e9"):
            self.assertEqual(64, self.run_main("status", "--watch", "--interval", text), text)
