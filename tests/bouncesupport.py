"""What the tests of notifications share: a message, reports on it, and a notification parsed."""

from collections.abc import Mapping, Sequence
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import SMTP

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.content import Content
from smtpforward.envelope import Address, Envelope, Recipient
from smtpforward.outbound import entry
from smtpforward.outbound.bounce import Notice, compose
from smtpforward.outbound.notify import Action, Report
from smtpforward.reply import Reply
from tests.support import address

ME = "gateway.example.net"
SENDER = address(b"sender@example.net")
RECEIVED = 1700000000.0  # Tue, 14 Nov 2023 22:13:20 +0000
AT = RECEIVED + 60
NOW = RECEIVED + 61
PEER = "mx.example.com[192.0.2.9]:25"
NO_SUCH_USER = Reply(550, (b"5.1.1 no such user",))
TAKEN = Reply(250, (b"2.0.0 queued as 4A",))
UNREACHABLE = Reply(451, (b"4.4.1 the next server cannot be reached",))
ORIGINAL = (
    b"Received: from client.example.net by gateway.example.net\r\n"
    b"From: Sender <sender@example.net>\r\n"
    b"Message-ID: <original@example.net>\r\n"
    b"Subject: hello\r\n"
    b"\r\n"
    b"Hello,\r\n.\r\n.dotted\r\nFrom here on\r\n"
)


def to(text: bytes = b"rcpt@example.com", **parameters: bytes) -> Recipient:
    """A recipient with parameters."""
    given = {keyword.encode(): value for keyword, value in parameters.items()}
    return Recipient(address(text), given)


def report(action: Action = Action.FAILED, reply: Reply | None = None, **changes: object) -> Report:
    """A report on ``rcpt``; what a remote server said."""
    said = {
        Action.FAILED: NO_SUCH_USER,
        Action.DELAYED: UNREACHABLE,
        Action.DELIVERED: TAKEN,
        Action.RELAYED: TAKEN,
    }
    made = Report(to(), action, reply or said[action], PEER, True, AT)
    return attrs.evolve(made, **changes)  # type: ignore[arg-type]


def message(
    sender: Address = SENDER, parameters: Mapping[bytes, bytes] | None = None
) -> entry.Message:
    """A queued message; notifications do not look at its recipients."""
    return entry.Message("1F", RECEIVED, Envelope(sender, (to(),), parameters or {}), len(ORIGINAL))


def notice(
    *reports: Report,
    of: entry.Message | None = None,
    original: bytes | Content = ORIGINAL,
) -> Notice:
    """The notification that is made of ``reports``."""
    held = original if isinstance(original, Content) else Content.from_plain(original)
    return compose(of or message(), held, reports or (report(),), ME, NOW, "2A")


def octets(made: Notice) -> bytes:
    """The notification as it leaves."""
    return b"".join(made.content.plain())


class Parsed:
    """A notification as another's parser reads it.

    :ivar text: what people read. ``groups``: the fields that programs read, message first.
    :ivar third: the part with what was returned, or ``None``.
    """

    def __init__(self, mail: bytes) -> None:
        self.mail = message_from_bytes(mail, policy=SMTP)
        text, status, *third = parts_of(self.mail)
        assert isinstance(text, EmailMessage)
        self.text: str = text.get_content().replace("\r\n", "\n")
        self.status = status
        self.groups: Sequence[Message] = parts_of(status)
        self.third: Message | None = third[0] if third else None
        self.parts = [part.get_content_type() for part in (text, status, *third)]

    @property
    def returned(self) -> bytes:
        """What was returned, decoded, with CRLF."""
        assert self.third is not None
        if self.third.get_content_type() == "message/rfc822":
            return parts_of(self.third)[0].as_bytes(policy=SMTP)
        held = self.third.get_payload(decode=True)
        assert isinstance(held, bytes)
        return held


def parts_of(part: Message) -> list[Message]:
    """The parts of a multipart, or the groups of a delivery-status."""
    held = part.get_payload()
    assert isinstance(held, list), held
    return list(held)


class NoticeCase(SynchronousTestCase):
    """A test of notifications."""

    def parsed(self, made: Notice) -> Parsed:
        """The notification, which another's parser finds nothing wrong with.

        What the original holds is its sender's business.
        """
        mail = octets(made)
        self.assert_sound(mail)
        parsed = Parsed(mail)
        for part in (parsed.mail, *parts_of(parsed.mail), *parsed.groups):
            self.assertEqual([], part.defects, part.get_content_type())
        self.assertEqual(parsed.mail.get_content_type(), "multipart/report")
        self.assertEqual(parsed.mail.get_param("report-type"), "delivery-status")
        self.assertEqual(parsed.parts[:2], ["text/plain", "message/delivery-status"])
        return parsed

    def assert_sound(self, mail: bytes) -> None:
        """CRLF alone ends lines, no line is too long, and there is no NUL."""
        self.assertTrue(mail.endswith(b"\r\n"))
        lines = mail.split(b"\r\n")
        self.assertLessEqual(max(map(len, lines)), 998)
        for line in lines:
            self.assertNotIn(b"\r", line)
            self.assertNotIn(b"\n", line)
            self.assertNotIn(b"\0", line)
