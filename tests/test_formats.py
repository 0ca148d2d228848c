"""The log as JSON and in Postfix's lines: what stands in them, event by event."""

import json
import re
from pathlib import Path
from typing import Any

import attrs
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.logger import LogEvent, Logger, formatEventAsClassicLogText
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.envelope import NULL_SENDER, Address, Client, Recipient
from smtpforward.formats.as_json import JSONLog
from smtpforward.formats.as_postfix import PostfixLog
from smtpforward.job import Delivery, Event
from smtpforward.outbound.entry import Claimed, State
from smtpforward.outbound.lines import Attempted
from smtpforward.outbound.results import Fate
from smtpforward.record import Ended
from smtpforward.reply import Reply
from smtpforward.workers.lines import STDOUT, RecordReader, record
from tests.queuevalues import message as queued_message
from tests.support import TAKEN, outcome, recipient, transaction

CLIENT = Client(
    *("192.0.2.1", 4321, "host.example.net", b"me.example.net", "ESMTP", "", "ann@example.net"),
    *(True, "TLSv1.3"),
)
NO = Reply(550, (b"5.7.1 mail for this domain is not accepted here [1F]",))
PREFIX = re.compile(r"[A-Z][a-z]{2} [ 123]\d \d\d:\d\d:\d\d mx\.example\.net smtpforward/")


def message(*, client: Client = CLIENT, **changes: Any) -> Ended:
    """A message to two recipients that a backend took."""
    made = transaction(b"b@example.com", b"c@example.com", size=1234, client=client)
    made.outcomes = [outcome(Event.ACCEPTED), outcome(Event.ACCEPTED)]
    for name, value in changes.items():
        setattr(made, name, value)
    return Ended(made, TAKEN, 1.25)


def refused(command: str, reply: Reply = NO, reason: str = "why") -> Ended:
    """A command that was refused."""
    made = transaction(*([b"b@example.com"] if command == "RCPT" else []), client=CLIENT)
    return Ended(made, reply, 0.5, command, "rule", reason)


def attempt(state: State, reply: Reply, **changes: Any) -> Attempted:
    """What an attempt of the queue has meant for a recipient."""
    one = recipient(b"b@example.com")
    entry = Claimed(1, queued_message(), "x", Delivery.OUTBOUND, ((0, one),), 0, noticed=False)
    fate = Fate(0, state, reply, peer="mx.example.com[192.0.2.9]:25", **changes)
    return Attempted(entry, one, fate, entry.message.received + 61.5)


def mail(entry: object) -> LogEvent:
    """The event of an entry."""
    return {
        "log_level": None,
        "log_format": "{mail_line}",
        "mail_line": entry,
        "log_time": 86400.5,
        "log_system": "mail",
    }


class FormatCase(SynchronousTestCase):
    """One format, fed with what a logger makes."""

    def setUp(self) -> None:
        """Nothing has been logged."""
        self.events: list[LogEvent] = []
        self.log = Logger(namespace="some.where", observer=self.events.append)  # type: ignore[arg-type]


class JSONTests(FormatCase):
    """One object a line."""

    def read(self, event: LogEvent) -> dict[str, Any]:
        """The object of an event's one line."""
        line = JSONLog()(event)
        assert line is not None
        self.assertTrue(line.endswith("\n"))
        self.assertEqual(line.count("\n"), 1)
        found: dict[str, Any] = json.loads(line)
        return found

    def test_message(self) -> None:
        """Everything that is known of it, by name."""
        found = self.read(mail(message()))
        self.assertRegex(found.pop("time"), r"^1970-01-0\dT\d\d:\d\d:00\.500[+-]\d\d:\d\d$")
        self.assertEqual(
            found,
            {
                "level": "info",
                "system": "mail",
                "event": "message",
                "id": "1F",
                "client_name": "host.example.net",
                "client_ip": "192.0.2.1",
                "client_port": 4321,
                "helo": "me.example.net",
                "protocol": "ESMTP",
                "tls": True,
                "tls_version": "TLSv1.3",
                "user": "ann@example.net",
                "from": "a@example.net",
                "to": ["b@example.com", "c@example.com"],
                "nrcpt": 2,
                "size": 1234,
                "relay": "192.0.2.9:25",
                "delay": 1.25,
                "dsn": "2.0.0",
                "status": "sent",
                "reply": "250 2.0.0 Ok: queued as 4A",
            },
        )

    def test_nothing_known(self) -> None:
        """Without a backend, a login and a sender there is null, and an empty string."""
        found = self.read(mail(message(client=Client("::1", 1), sender=NULL_SENDER, outcomes=())))
        self.assertEqual([found["relay"], found["user"], found["from"]], [None, None, ""])
        self.assertEqual([found["helo"], found["tls"]], ["", False])

    def test_queued(self) -> None:
        """What the queue took."""
        found = self.read(mail(message(queued=True)))
        self.assertEqual([found["relay"], found["status"]], ["queue", "queued"])

    def test_detail(self) -> None:
        """What is known beside the answer, and that the client went away."""
        entry = message(outcomes=[outcome(Event.DROPPED, detail="no reply in time")])
        entry.gone = True
        found = self.read(mail(entry))
        self.assertEqual([found["detail"], found["client_gone"]], ["no reply in time", True])

    def test_refused(self) -> None:
        """A refused command says which, and why."""
        found = self.read(mail(refused("RCPT")))
        self.assertEqual(found["event"], "refused")
        self.assertEqual([found["command"], found["rule"]], ["RCPT", "rule"])
        self.assertEqual(found["reason"], "why")
        self.assertEqual([found["to"], found["status"]], [["b@example.com"], "bounced"])

    def test_attempt(self) -> None:
        """An attempt of the queue has a subset of the keys, and the number of attempts."""
        reply = Reply(451, (b"4.4.1 cannot be reached",))
        found = self.read(mail(attempt(State.QUEUED, reply, detail="refused")))
        self.assertEqual(found["event"], "attempt")
        self.assertEqual([found["delay"], found["attempts"]], [61.5, 1])
        self.assertEqual([found["status"], found["detail"]], ["deferred", "refused"])
        self.assertEqual(found["reply"], "451 4.4.1 cannot be reached")

    def test_other_events(self) -> None:
        """Level, system and text; and facts, where there are some."""
        self.log.warn("{what}\nmore", what="one")
        self.log.info("a login", facts={"event": "login", "success": False})
        plain, login = map(self.read, self.events)
        self.assertEqual(set(plain), {"time", "level", "system", "text"})
        self.assertEqual([plain["level"], plain["text"]], ["warn", "one\nmore"])
        self.assertEqual(plain["system"], "some.where")
        self.assertEqual([login["text"], login["event"]], ["a login", "login"])
        self.assertIs(login["success"], False)

    def test_failure(self) -> None:
        """A traceback is part of the text."""
        try:
            raise ZeroDivisionError("oops")
        except ZeroDivisionError:
            self.log.failure("fault", Failure())
        found = self.read(self.events[0])
        self.assertEqual(found["level"], "critical")
        self.assertIn("ZeroDivisionError: oops", found["text"])

    def test_nothing_to_say(self) -> None:
        """An event without a text makes no line."""
        self.assertIsNone(JSONLog()({"log_format": ""}))

    @given(st.binary(max_size=20), st.text(max_size=20))
    @examples(max_examples=50, deadline=None)
    def test_whatever_was_said(self, helo: bytes, text: str) -> None:
        """No byte of a client and no text makes a second line, or none."""
        client = attrs.evolve(CLIENT, helo=helo)
        self.read(mail(message(client=client)))
        self.assertEqual(self.read({"log_format": "{t}", "t": f"x{text}"})["text"], f"x{text}")


class PostfixTests(FormatCase):
    """Postfix's lines."""

    def read(self, event: LogEvent) -> list[str]:
        """The lines of an event, behind time, host and name."""
        lines = (PostfixLog("mx.example.net")(event) or "").splitlines()
        for line in lines:
            self.assertRegex(line, PREFIX)
        return [re.sub(r"\[\d+\]: ", ": ", PREFIX.sub("", line), count=1) for line in lines]

    def test_message(self) -> None:
        """The lines of the programs that it would have passed."""
        self.assertEqual(
            self.read(mail(message())),
            [
                "smtpd: 1F: client=host.example.net[192.0.2.1], sasl_username=ann@example.net",
                "qmgr: 1F: from=<a@example.net>, size=1234, nrcpt=2 (queue active)",
                "smtp: 1F: to=<b@example.com>, relay=192.0.2.9:25, delay=1.25, dsn=2.0.0,"
                " status=sent (250 2.0.0 Ok: queued as 4A)",
                "smtp: 1F: to=<c@example.com>, relay=192.0.2.9:25, delay=1.25, dsn=2.0.0,"
                " status=sent (250 2.0.0 Ok: queued as 4A)",
                "qmgr: 1F: removed",
            ],
        )

    def test_queued(self) -> None:
        """What becomes of its recipients is said with the attempts."""
        lines = self.read(mail(message(queued=True)))
        self.assertEqual([line.partition(":")[0] for line in lines], ["smtpd", "qmgr"])
        [line] = self.read(mail(attempt(State.DELIVERED, TAKEN)))
        self.assertRegex(
            line,
            r"^smtp: \w+: to=<b@example.com>, relay=mx.example.com\[192.0.2.9\]:25, delay=61.50,"
            r" dsn=2.0.0, status=sent \(250 2.0.0 Ok",
        )

    def test_relay_denied(self) -> None:
        """What tools look for has Postfix's words."""
        self.assertEqual(
            self.read(mail(refused("RCPT"))),
            [
                "smtpd: NOQUEUE: reject: RCPT from host.example.net[192.0.2.1]: 550 5.7.1"
                " <b@example.com>: Relay access denied; from=<a@example.net> to=<b@example.com>"
                " proto=ESMTP helo=<me.example.net>"
            ],
        )

    def test_refused(self) -> None:
        """Other refusals have the gateway's words, or the backend's."""
        [line] = self.read(mail(refused("MAIL", Reply(550, (b"5.7.1 spoofed",)))))
        self.assertIn(
            "reject: MAIL from host.example.net[192.0.2.1]: 550 5.7.1 <a@example.net>:"
            " Sender address rejected: spoofed; from=<a@example.net> proto=ESMTP",
            line,
        )
        [line] = self.read(mail(refused("RCPT", Reply(550, (b"no such user",)))))
        self.assertIn(
            ": 550 5.0.0 <b@example.com>: Recipient address rejected: no such user;", line
        )

    def test_refused_message(self) -> None:
        """A message that no backend has seen is a reject, too."""
        entry = message(outcomes=())
        entry.reply = Reply(554, (b"5.6.0 bare CR or LF in the message [1F]",))
        [line] = self.read(mail(entry))
        self.assertIn(
            "smtpd: 1F: reject: END-OF-MESSAGE from host.example.net[192.0.2.1]: 554 5.6.0 bare CR",
            line,
        )

    def test_logins(self) -> None:
        """One that failed is the warning that fail2ban knows; one that succeeded is none."""
        facts = {"event": "login", "user": "ann", "mechanism": "PLAIN", "client_ip": "192.0.2.1"}
        self.log.info("x", facts={**facts, "success": False})
        self.log.info("x", facts={**facts, "success": True})
        failed, succeeded = map(self.read, self.events)
        self.assertEqual(succeeded, [])
        [line] = failed
        self.assertTrue(
            line.startswith(
                "smtpd: warning: unknown[192.0.2.1]: SASL PLAIN authentication failed: "
            ),
            line,
        )

    def test_turned_away(self) -> None:
        """A client that was one too many."""
        facts = {"event": "turned_away", "client_ip": "192.0.2.1", "reply": "421 4.7.0 no"}
        self.log.info("x", facts=facts)
        self.assertEqual(
            self.read(self.events[0]),
            ["smtpd: NOQUEUE: reject: CONNECT from unknown[192.0.2.1]: 421 4.7.0 no; proto=SMTP"],
        )

    def test_other_events(self) -> None:
        """Line by line, with a mark for what is wrong."""
        self.log.info("one\n\ntwo")
        self.log.warn("three")
        self.log.error("four")
        self.assertEqual(
            [line for event in self.events for line in self.read(event)],
            ["gateway: one", "gateway: two", "gateway: warning: three", "gateway: error: four"],
        )
        self.assertIsNone(PostfixLog("mx.example.net")({"log_format": ""}))

    @given(st.binary(max_size=20), st.text(st.characters(blacklist_categories=["Cs"])))
    @examples(max_examples=50, deadline=None)
    def test_no_forged_lines(self, helo: bytes, local: str) -> None:
        """Nothing that was said makes a line of its own."""
        entry = refused("MAIL")
        entry.transaction.client = attrs.evolve(CLIENT, helo=helo)
        entry.transaction.sender = Address(local.encode())
        self.assertEqual(len(self.read(mail(entry))), 1)


class WorkersTests(FormatCase):
    """What a worker logs comes out of the parent's log with its facts."""

    def passed_on(self, event: LogEvent, with_facts: bool) -> LogEvent:
        """The event that the parent makes."""
        told: list[LogEvent] = []
        RecordReader("2", told.append).received(STDOUT, record(event, with_facts))
        [event] = told
        return event

    def test_mail(self) -> None:
        """Both formats say the same as without workers, but for the worker's number."""
        event = {**mail(message()), "log_namespace": "smtpforward.mail"}
        told = self.passed_on(event, with_facts=True)
        before, after = json.loads(JSONLog()(event) or ""), json.loads(JSONLog()(told) or "")
        self.assertEqual(after, {**before, "system": "mail,2"})
        postfix = PostfixLog("mx.example.net")
        self.assertEqual(postfix(told), postfix(event))

    def test_others(self) -> None:
        """A login and a plain line."""
        self.log.info("a login", facts={"event": "login"})
        self.log.info("no login")
        login, plain = (self.passed_on(event, with_facts=True) for event in self.events)
        found = json.loads(JSONLog()(login) or "")
        self.assertEqual([found["text"], found["event"]], ["a login", "login"])
        found = json.loads(JSONLog()(plain) or "")
        self.assertEqual([found["text"], found["system"]], ["no login", "some.where#info,2"])

    def test_lines(self) -> None:
        """Where the log is lines, only the line travels."""
        event = mail(message())
        told = self.passed_on(event, with_facts=False)
        self.assertEqual(told["mail_line"], str(message()))
        line = formatEventAsClassicLogText({**told, "log_system": "mail"})
        self.assertEqual(line, formatEventAsClassicLogText(event))


class RecipientTests(FormatCase):
    """Many recipients."""

    def test_all_of_them(self) -> None:
        """Neither format leaves one out, as the line does."""
        recipients = [recipient(b"r%d@example.com" % number) for number in range(50)]
        entry = message(recipients=recipients)
        found = json.loads(JSONLog()(mail(entry)) or "")
        self.assertEqual(found["to"], [str(one.address) for one in recipients])
        self.assertIsInstance(recipients[0], Recipient)
        lines = (PostfixLog("mx.example.net")(mail(entry)) or "").splitlines()
        self.assertEqual(len([line for line in lines if "status=sent" in line]), 50)


class DocumentTests(FormatCase):
    """docs/logs.md."""

    def test_keys(self) -> None:
        """It names all keys that an object can have, and no other."""
        path = Path(__file__).resolve().parents[1] / "docs" / "logs.md"
        chapter = path.read_text("utf-8").partition("## `json`")[2].partition("\n## ")[0]
        told = set(re.findall(r"^\| `(\w+)` \|", chapter, re.M)) | {"text", "event"}
        gone = Ended(transaction(), NO, 0.0, "RCPT", "rule", "why", gone=True)
        gone.transaction.outcomes = [outcome(Event.DROPPED, detail="x")]
        self.log.info("x", facts={"event": "login"})
        known = set(json.loads(JSONLog()(mail(gone)) or ""))
        known |= set(json.loads(JSONLog()(self.events[0]) or ""))
        reply = Reply(451, (b"4.4.1 x",))
        known |= set(attempt(State.QUEUED, reply, detail="x").facts())
        known |= {"success", "mechanism", "user", "client_ip"}
        self.assertEqual(told, known | {"notice", "action", "about"})
