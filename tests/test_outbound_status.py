"""The fields of message/delivery-status (RFC 3464 2)."""

from typing import ClassVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.envelope import Address, Recipient
from smtpforward.outbound.notify import Action, Report
from smtpforward.outbound.status import of_message, of_recipient
from smtpforward.outbound.wording import MAX_REPLY
from smtpforward.reply import Reply
from tests.bouncesupport import AT, ME, PEER, UNREACHABLE, message, report, to

DATE = "Tue, 14 Nov 2023 22:14:20 +0000"
ARRIVAL = ("Arrival-Date", "Tue, 14 Nov 2023 22:13:20 +0000")


def fields(made: Report) -> dict[str, str]:
    """The fields of one recipient, none of them twice."""
    found = of_recipient(made, MAX_REPLY)
    assert len(dict(found)) == len(found)
    return dict(found)


class MessageTests(SynchronousTestCase):
    """The fields of the message."""

    def test_fields(self) -> None:
        """Who reports, the sender's own id of the envelope, and when the message came."""
        envelope_id = ("Original-Envelope-Id", "Q+1=x y")
        self.assertEqual(
            of_message(message(parameters={b"ENVID": b"Q+2B1+3Dx+20y"}), ME),
            [("Reporting-MTA", f"dns; {ME}"), envelope_id, ARRIVAL],
        )

    def test_bad_envelope_ids(self) -> None:
        """What is no xtext, or not printable, is left out."""
        for value in (b"", b"a+b", b"a+4", b"a=b", b"a b", b"+0D+0AAction:", b"+C3+A4", b"+20"):
            got = of_message(message(parameters={b"ENVID": value}), ME)
            self.assertEqual(got, [("Reporting-MTA", f"dns; {ME}"), ARRIVAL], value)


class RecipientTests(SynchronousTestCase):
    """The fields of a recipient."""

    def test_failed(self) -> None:
        """All of them, in the RFC's order."""
        recipient = to(ORCPT=b"rfc822;Rcpt+2Blist@example.org")
        self.assertEqual(
            of_recipient(report(recipient=recipient), MAX_REPLY),
            [
                ("Original-Recipient", "rfc822; Rcpt+list@example.org"),
                ("Final-Recipient", "rfc822; rcpt@example.com"),
                ("Action", "failed"),
                ("Status", "5.1.1"),
                ("Remote-MTA", "dns; mx.example.com"),
                ("Diagnostic-Code", "smtp; 550 5.1.1 no such user"),
                ("Last-Attempt-Date", DATE),
            ],
        )

    def test_actions(self) -> None:
        """The action, and with a delay until when it is tried."""
        until = AT + 86400
        for action, name, status in (
            (Action.FAILED, "failed", "5.1.1"),
            (Action.DELAYED, "delayed", "4.4.1"),
            (Action.DELIVERED, "delivered", "2.0.0"),
            (Action.RELAYED, "relayed", "2.0.0"),
        ):
            got = fields(report(action, retry_until=until))
            self.assertEqual((got["Action"], got["Status"]), (name, status))
            retry = "Wed, 15 Nov 2023 22:14:20 +0000" if action is Action.DELAYED else None
            self.assertEqual(got.get("Will-Retry-Until"), retry, action)
        self.assertNotIn("Will-Retry-Until", fields(report(Action.DELAYED)))

    def test_own_words(self) -> None:
        """What the gateway says itself is no diagnostic of SMTP, and no server's."""
        got = fields(report(Action.DELAYED, remote=False, peer="mx.example.com:25"))
        self.assertEqual(
            got["Diagnostic-Code"], "x-smtpforward; 451 4.4.1 the next server cannot be reached"
        )
        self.assertNotIn("Remote-MTA", got)

    def test_remote_mta(self) -> None:
        """A name, or an address literal where the server has none."""
        for peer, name in {
            PEER: "dns; mx.example.com",
            "mx.example.com:25": "dns; mx.example.com",
            "192.0.2.9[192.0.2.9]:25": "dns; [192.0.2.9]",
            "2001:db8::9[2001:db8::9]:25": "dns; [IPv6:2001:db8::9]",
            "[2001:db8::9]:25": "dns; [IPv6:2001:db8::9]",
            "": None,
        }.items():
            self.assertEqual(fields(report(peer=peer)).get("Remote-MTA"), name, peer)


class StatusTests(SynchronousTestCase):
    """The enhanced status code fits the action."""

    def status(self, action: Action, code: int, text: bytes) -> str:
        return fields(report(action, Reply(code, (text,))))["Status"]

    def test_own(self) -> None:
        """The reply's own one, where it has one of the action's class."""
        self.assertEqual(self.status(Action.FAILED, 550, b"5.7.26 no"), "5.7.26")
        self.assertEqual(self.status(Action.FAILED, 550, b"no"), "5.0.0")
        self.assertEqual(self.status(Action.DELAYED, 450, b"4.2.1 later"), "4.2.1")
        self.assertEqual(self.status(Action.DELAYED, 450, b"later"), "4.0.0")
        self.assertEqual(self.status(Action.DELIVERED, 250, b"2.1.5 ok"), "2.1.5")

    def test_given_up(self) -> None:
        """After temporary failures the last one's code stands, or that the time is over."""
        self.assertEqual(self.status(Action.FAILED, 450, b"4.2.2 full"), "4.2.2")
        self.assertEqual(self.status(Action.FAILED, 450, b"later"), "4.4.7")

    def test_other_class(self) -> None:
        """A code of another class does not stand with an action that it contradicts."""
        self.assertEqual(self.status(Action.DELAYED, 550, b"5.1.1 no"), "4.0.0")
        self.assertEqual(self.status(Action.FAILED, 250, b"2.0.0 ok"), "5.0.0")
        self.assertEqual(self.status(Action.DELIVERED, 251, b"5.1.1 ok"), "2.0.0")


class AddressTests(SynchronousTestCase):
    """Original-Recipient and Final-Recipient."""

    ORIGINAL: ClassVar[dict[bytes, str | None]] = {
        b"rfc822;rcpt@example.org": "rfc822; rcpt@example.org",
        b"RFC822;rcpt+3Dx@example.org": "RFC822; rcpt=x@example.org",
        b"x400;/G+3Drcpt/": "x400; /G=rcpt/",
        "utf-8;bär@example.org".encode(): r"utf-8; b\x{E4}r@example.org",
        rb"utf-8;b\x{E4}r@example.org": r"utf-8; b\x{E4}r@example.org",
        rb"UTF-8;b\x{2B}r@example.org": r"UTF-8; b\x{2B}r@example.org",
        # Encoded by RFC 3461: its own + stands for itself then.
        b"utf-8;a+2Bb@example.org": r"utf-8; a\x{2B}b@example.org",
        b"rfc822;a+b@example.org": None,
        b"rfc822;+0D+0ABcc:x": None,
        b"rfc822;+C3+A4@example.org": None,
        b"rfc822;+20": None,
        b"rfc822;": None,
        b"rcpt@example.org": None,
        b"rfc 822;rcpt@example.org": None,
        b"": None,
        b"utf-8;\xff@example.org": None,
        rb"utf-8;\x{FFFFFF}@example.org": None,
        b"utf-8;" + "ü".encode() * 250: None,
    }

    def test_original(self) -> None:
        """ORCPT decoded, its type kept; what does not parse, or fits no line, is left out."""
        for given_, expected in self.ORIGINAL.items():
            got = fields(report(recipient=to(ORCPT=given_)))
            self.assertEqual(got.get("Original-Recipient"), expected, given_)

    def test_final(self) -> None:
        """ASCII where there is such a form, else all that is not as ``\\x{HEX}``."""
        for address, expected in {
            Address(b"rcpt", b"example.com"): "rfc822; rcpt@example.com",
            Address(b'"r c p t"', b"example.com"): 'rfc822; "r c p t"@example.com',
            Address(b"rcpt", b"[192.0.2.1]"): "rfc822; rcpt@[192.0.2.1]",
            Address(b"postmaster"): "rfc822; postmaster",
            Address(b"rcpt", "bücher.example".encode()): "rfc822; rcpt@xn--bcher-kva.example",
            Address("bär".encode(), b"example.com"): r"utf-8; b\x{E4}r@example.com",
            Address("中+\\".encode(), "bücher.example".encode()): (
                r"utf-8; \x{4E2D}\x{2B}\x{5C}@b\x{FC}cher.example"
            ),
        }.items():
            got = fields(report(recipient=Recipient(address)))
            self.assertEqual(got["Final-Recipient"], expected)


class DiagnosticTests(SynchronousTestCase):
    """Diagnostic-Code: what the server said."""

    def diagnostic(self, *lines: bytes) -> str:
        return fields(report(reply=Reply(550, lines)))["Diagnostic-Code"]

    def test_several_lines(self) -> None:
        """Each line of the reply begins a line (RFC 3461 9.2)."""
        self.assertEqual(
            self.diagnostic(b"5.1.1 no", b"", b"5.1.1 really"),
            "smtp; 550-5.1.1 no\r\n 550-\r\n 550 5.1.1 really",
        )

    def test_long(self) -> None:
        """A long line is folded between its words, one long word where it must be."""
        got = self.diagnostic(b"5.1.1" + b" word" * 30)
        self.assertLessEqual(max(map(len, f"Diagnostic-Code: {got}".split("\r\n"))), 76)
        self.assertEqual(" ".join(got.split()), "smtp; 550 5.1.1" + " word" * 30)
        got = self.diagnostic(b"x" * 2000)
        self.assertEqual("".join(got.split()), "smtp;550" + "x" * 2000)
        self.assertLess(max(map(len, got.split("\r\n"))), 910)

    def test_endless(self) -> None:
        """What a server says without end is cut, and that is seen."""
        for lines in ((b"x" * 65536,), (b"x" * 100,) * 1000):
            got = self.diagnostic(*lines)
            self.assertLess(len(got), 1.2 * MAX_REPLY)
            self.assertTrue(got.endswith("..."))

    def test_hostile(self) -> None:
        """Control characters, and what is not ASCII, cannot end a line or begin a field."""
        self.assertEqual(
            self.diagnostic(b"no\r\nAction: delivered\n\n\x00\x7f\x85"),
            r"smtp; 550 no\r\nAction: delivered\n\n\x00\x7f\x85",
        )
        self.assertEqual(
            self.diagnostic("Käse\u2028\u202e\x85".encode()),
            r"smtp; 550 K\x{E4}se\u2028\u202e\x85",
        )

    @given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4))
    def test_any(self, lines: list[bytes]) -> None:
        """Any words are lines of printable ASCII, none empty, each but the first after a blank."""
        first, *more = self.diagnostic(*lines).split("\r\n")
        self.assertTrue(first.startswith("smtp;"))
        for line in (first, *more):
            self.assertTrue(line.isascii() and line.isprintable() and line.strip(), line)
            self.assertLess(len(line), 950)
        self.assertTrue(all(line.startswith(" ") for line in more))


class UnreachableTests(SynchronousTestCase):
    """No server, no words of one."""

    def test_no_peer(self) -> None:
        """Where nobody was spoken to there is no server to name."""
        got = fields(report(Action.FAILED, UNREACHABLE, peer="", remote=False))
        self.assertEqual(
            list(got),
            ["Final-Recipient", "Action", "Status", "Diagnostic-Code", "Last-Attempt-Date"],
        )
        self.assertEqual(got["Status"], "4.4.1")
