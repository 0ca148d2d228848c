"""What is told of transactions: objects in a list, timelines, and what a search finds."""

import json
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.record import Ended, Facts
from smtpforward.web.transactions import MOST_TO, matches, newest, shown, timeline, told
from tests.recentload import attempted, many, refused, usual
from tests.test_formats import message


def facts(entry: Any) -> Facts:
    """Its facts."""
    found: Facts = entry.facts()
    return found


class ToldTests(SynchronousTestCase):
    """One in a list."""

    def test_message(self) -> None:
        """What its sender heard, and who brought it."""
        one = told(9.5, facts(message()))
        self.assertEqual(
            one,
            {
                "id": "1F",
                "at": 9.5,
                "client": "host.example.net[192.0.2.1]",
                "helo": "me.example.net",
                "user": "ann@example.net",
                "from": "a@example.net",
                "to": ["b@example.com", "c@example.com"],
                "recipients": 2,
                "size": 1234,
                "status": "sent",
                "reply": "250 2.0.0 Ok: queued as 4A",
                "relay": "192.0.2.9:25",
                "tls": "TLSv1.3",
                "rule": None,
                "delay": 1.25,
            },
        )

    def test_refused(self) -> None:
        """At a command: no size. By a rule at its end: refused as well."""
        one = told(1.0, facts(refused(1)))
        self.assertEqual((one["status"], one["rule"], one["size"]), ("refused", "relaying", None))
        at_end: Ended = message()
        at_end.rule = "bare_newline"
        one = told(1.0, facts(at_end))
        self.assertEqual((one["status"], one["size"]), ("refused", 1234))

    def test_many(self) -> None:
        """Some recipients, and how many there are."""
        one = told(1.0, facts(many(1)))
        self.assertEqual((len(one["to"]), one["recipients"]), (MOST_TO, 1000))

    def test_printable(self) -> None:
        """Nothing that a terminal, or a page, would take for more than text."""
        entry = message()
        entry.transaction.client = attrs.evolve(entry.transaction.client, helo=b"\x1b[2J\r\n\xff")
        one = told(1.0, facts(entry))
        self.assertEqual(one["helo"], "\\x1b[2J\\r\\n\\xff")
        self.assertEqual(shown({"a": ["\x00", 1, None]}), {"a": ["\\x00", 1, None]})
        json.dumps(one)


class SearchTests(SynchronousTestCase):
    """What is found."""

    def test_matches(self) -> None:
        """The whole id, or a part of an address or a name."""
        of = facts(message())
        for needle in ("1f", "a@example.net", "@example", "c@", "192.0.2.1", "host.example"):
            self.assertTrue(matches(of, needle), needle)
        for needle in ("1f0", "me.example", "ann@", "250"):
            self.assertFalse(matches(of, needle), needle)

    def test_attempt(self) -> None:
        """An attempt has no client."""
        self.assertFalse(matches(facts(attempted(1)), "192.0.2"))


class NewestTests(SynchronousTestCase):
    """The lists of several processes."""

    def test_merged(self) -> None:
        """The newest first, whoever told of them."""
        ones = [told(float(at), facts(usual(at))) for at in range(6)]
        self.assertEqual(newest([ones[::2], ones[1::2]], 4), ones[:1:-1])

    def test_gone_on(self) -> None:
        """A refusal stands only where the transaction did not go on."""
        alone, ended = told(1.0, facts(refused(1))), told(3.0, facts(usual(1)))
        before = told(2.0, facts(refused(1))) | {"id": ended["id"]}
        self.assertEqual(newest([[ended, before, alone]], 9), [ended, alone])


class TimelineTests(SynchronousTestCase):
    """The events of an entry."""

    def events(self, entry: Any) -> list[dict[str, Any]]:
        """Those of one that ended at 100."""
        return list(timeline(100.0, facts(entry)))

    def test_forwarded(self) -> None:
        """It was received, and handed over."""
        received, forwarded = self.events(message())
        self.assertEqual((received["event"], received["at"]), ("received", 98.75))
        self.assertEqual((forwarded["event"], forwarded["at"]), ("forwarded", 100.0))
        self.assertEqual(forwarded["relay"], "192.0.2.9:25")
        self.assertNotIn("relay", received)
        self.assertNotIn("from", forwarded)

    def test_other_ends(self) -> None:
        """It was queued, or refused."""
        self.assertEqual(self.events(message(queued=True))[1]["event"], "queued")
        self.assertEqual(self.events(message(outcomes=()))[1]["event"], "refused")
        ruled = message()
        ruled.rule = "loop"
        self.assertEqual(self.events(ruled)[1]["event"], "refused")

    def test_others(self) -> None:
        """What the log says of a command, or an attempt, as it is."""
        for entry, word in ((refused(1), "refused"), (attempted(1), "attempt")):
            [event] = self.events(entry)
            self.assertEqual(event, {"at": 100.0, **facts(entry)})
            self.assertEqual(event["event"], word)
