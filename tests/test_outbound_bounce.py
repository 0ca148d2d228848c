"""Delivery status notifications as a whole: what another's parser finds in them."""

import re
from itertools import product
from pathlib import Path

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from smtpforward.content import Content
from smtpforward.envelope import NULL_SENDER, Address, Recipient
from smtpforward.outbound.bounce import Notice, compose
from smtpforward.outbound.notify import Action, Report
from smtpforward.outbound.wording import MAX_REPLIES
from smtpforward.reply import Reply
from tests.bouncesupport import (
    AT,
    ME,
    NOW,
    ORIGINAL,
    PEER,
    SENDER,
    UNREACHABLE,
    NoticeCase,
    Parsed,
    message,
    notice,
    octets,
    report,
    to,
)

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "bounces.md"
HEADER = ORIGINAL.partition(b"\r\n\r\n")[0] + b"\r\n"
UNTIL = AT + 86400


class EnvelopeTests(NoticeCase):
    """Who the notification is from and for."""

    def test_to_the_sender(self) -> None:
        """From the null sender to the message's one; its own parameters are not those of DSN."""
        of = message(parameters={b"RET": b"FULL", b"ENVID": b"Q", b"BODY": b"8BITMIME"})
        envelope = notice(of=of).envelope
        self.assertEqual(envelope.sender, NULL_SENDER)
        self.assertEqual(envelope.recipients, (Recipient(SENDER),))
        self.assertEqual(envelope.parameters, {})

    def test_eight_bits(self) -> None:
        """8-bit bytes in it are announced."""
        made = notice(original=b"Subject: x\r\n\r\n\xc3\xa4\r\n")
        self.assertEqual(made.envelope.parameters, {b"BODY": b"8BITMIME"})
        self.assertEqual(self.parsed(made).mail["Content-Transfer-Encoding"], "8bit")
        self.assertIn(b"\r\n\r\n\xc3\xa4\r\n", octets(made))

    def test_utf8(self) -> None:
        """Only a sender that has no ASCII form needs SMTPUTF8."""
        sender = Address("sénder".encode(), "bücher.example".encode())
        made = notice(of=message(sender))
        self.assertEqual(made.envelope.recipients, (Recipient(sender),))
        self.assertEqual(made.envelope.parameters, {b"BODY": b"8BITMIME", b"SMTPUTF8": b""})
        self.assertIn("\r\nTo: <sénder@bücher.example>\r\n".encode(), octets(made))
        self.parsed(made)
        made = notice(of=message(Address(b"sender", "bücher.example".encode())))
        self.assertEqual(
            made.envelope.recipients, (Recipient(Address(b"sender", b"xn--bcher-kva.example")),)
        )
        self.assertEqual(made.envelope.parameters, {})
        self.assertIn(b"\r\nTo: <sender@xn--bcher-kva.example>\r\n", octets(made))


class HeaderTests(NoticeCase):
    """The notification's own header."""

    def test_fields(self) -> None:
        """All of them, once."""
        mail = self.parsed(notice()).mail
        expected = {
            "From": f"Mail Delivery System <MAILER-DAEMON@{ME}>",
            "To": "sender@example.net",
            "Subject": "Undelivered mail: returned to its sender",
            "Date": "Tue, 14 Nov 2023 22:14:21 +0000",
            "Message-ID": f"<2A@{ME}>",
            "In-Reply-To": "<original@example.net>",
            "References": "<original@example.net>",
            "Auto-Submitted": "auto-replied",
            "MIME-Version": "1.0",
            "Content-Transfer-Encoding": "7bit",
        }
        for name, value in expected.items():
            self.assertEqual(mail.get_all(name), [value])
        self.assertEqual({*mail.keys()} - {*expected}, {"Content-Type"})

    def test_no_message_id(self) -> None:
        """A message without an id is not referred to."""
        mail = self.parsed(notice(original=b"Subject: x\r\n\r\nbody\r\n")).mail
        self.assertNotIn("In-Reply-To", mail)
        self.assertNotIn("References", mail)

    def test_subjects(self) -> None:
        """The subject speaks of the worst."""
        subjects = [
            str(self.parsed(notice(*map(report, actions))).mail["Subject"])
            for actions in (
                (Action.DELIVERED,),
                (Action.DELIVERED, Action.RELAYED),
                (Action.DELIVERED, Action.DELAYED),
                (Action.DELAYED, Action.FAILED),
            )
        ]
        self.assertEqual(
            [subject.split()[0] for subject in subjects],
            ["Delivered", "Relayed", "Delayed", "Undelivered"],
        )

    def test_long_names(self) -> None:
        """Long words stay what they are: no encoded words, no folding within them."""
        sender = Address(b"a" * 120, b"b" * 60 + b"." + b"c" * 60 + b".example")
        identifier = b"<" + b"d" * 120 + b"@example.net>"
        mail = octets(
            notice(of=message(sender), original=b"Message-ID: " + identifier + b"\r\n\r\nx\r\n")
        )
        self.assertIn(b"\r\nTo: " + sender.path + b"\r\n", mail)
        self.assertIn(b"\r\nReferences: " + identifier + b"\r\n", mail)


class ExplanationTests(NoticeCase):
    """What people read."""

    def text(self, *reports: Report) -> str:
        return str(self.parsed(notice(*reports)).text)

    def test_failed(self) -> None:
        """What, to whom, in whose words, and that it is over."""
        text = self.text(report())
        for words in (
            f"This is the mail gateway {ME}.",
            "could not be delivered to:\n\n    <rcpt@example.com>\n\n",
            f"The server {PEER} answered:\n\n    550 5.1.1 no such user\n\n",
            "has given up",
            "Your message follows.",
        ):
            self.assertIn(words, text)
        self.assertNotIn("last attempt", text)

    def test_given_up(self) -> None:
        """After temporary failures it says when it was tried last."""
        text = self.text(report(reply=UNREACHABLE, remote=False, peer="mx.example.com:25"))
        self.assertIn("what the gateway found with the server mx.example.com:25:\n", text)
        self.assertIn("The last attempt was on Tue, 14 Nov 2023 22:14:20 +0000.", text)
        self.assertIn("This is what the gateway found:", self.text(report(remote=False, peer="")))

    def test_delayed(self) -> None:
        """No need to send it again; until when it is tried, where that is known."""
        text = " ".join(self.text(report(Action.DELAYED, retry_until=UNTIL)).split())
        self.assertIn("has not been delivered yet to: <rcpt@example.com>", text)
        self.assertIn("goes on trying until Wed, 15 Nov 2023 22:14:20 +0000. There is no", text)
        self.assertIn("no need to send the message again", text)
        self.assertIn("The header of your message follows.", text)
        self.assertIn("goes on trying. There", self.text(report(Action.DELAYED)))

    def test_success(self) -> None:
        """Delivered is not the same as relayed."""
        delivered = self.text(report(Action.DELIVERED))
        self.assertIn("Your message was delivered to:", delivered)
        relayed = self.text(report(Action.RELAYED))
        self.assertIn("Your message was handed on, on its way to:", relayed)
        self.assertIn("reports no deliveries", relayed)

    def test_recipients_alike(self) -> None:
        """Those with the same fate stand together, so that the words stand there once."""
        one, other = to(b"rcpt@example.com"), to("öther@example.com".encode())
        text = self.text(report(recipient=one), report(Action.DELAYED), report(recipient=other))
        self.assertIn("    <rcpt@example.com>\n    <öther@example.com>\n", text)
        self.assertEqual(text.count("no such user"), 1)

    def test_their_own_language(self) -> None:
        """A server's words in UTF-8 are readable; what is not printable is made visible."""
        text = self.text(report(reply=Reply(550, ("5.1.1 Empfänger\u202e \xff".encode(), b"\xff"))))
        self.assertIn("    550-5.1.1 Empfänger\\u202e ÿ\n    550 \\xff\n", text)


class StatusTests(NoticeCase):
    """What programs read."""

    def test_groups(self) -> None:
        """The message's fields, then those of each recipient, in order; nothing else."""
        reports = [
            report(action, recipient=to(b"%d@example.com" % number))
            for number, action in enumerate(Action)
        ]
        of, *groups = self.parsed(notice(*reports)).groups
        self.assertEqual(of.keys(), ["Reporting-MTA", "Arrival-Date"])
        for number, (group, made) in enumerate(zip(groups, reports, strict=True)):
            self.assertEqual(group["Final-Recipient"], f"rfc822; {number}@example.com")
            self.assertEqual(group["Action"], made.action.value)
        self.assertEqual(len(groups), 4)

    def test_many_who_say_a_lot(self) -> None:
        """A thousand long replies, each another, are cut shorter than one is."""
        reports = [
            report(
                recipient=to(b"%d@example.com" % n), reply=Reply(550, (b"%d " % n + b"x" * 9000,))
            )
            for n in range(1000)
        ]
        parsed = self.parsed(notice(*reports))
        self.assertEqual(len(parsed.groups), 1001)
        self.assertLess(len(octets(notice(*reports))), 3 * MAX_REPLIES)
        self.assertTrue(parsed.groups[1000]["Diagnostic-Code"].endswith("xxx..."))

    def test_ascii(self) -> None:
        """All of it is 7-bit, whatever the addresses and the words are."""
        recipient = Recipient(Address("bär".encode(), b"example.com"))
        made = notice(report(recipient=recipient, reply=Reply(550, ("nein: bär".encode(),))))
        parsed = self.parsed(made)
        self.assertTrue(octets(made).isascii())
        self.assertEqual(parsed.groups[1]["Final-Recipient"], r"utf-8; b\x{E4}r@example.com")
        self.assertEqual(parsed.groups[1]["Diagnostic-Code"], r"smtp; 550 nein: b\x{E4}r")
        self.assertIn("<bär@example.com>", parsed.text)


class ReturnedTests(NoticeCase):
    """RET."""

    def test_table(self) -> None:
        """The whole message with failures that RET does not forbid it, else the header."""
        for action, ret in product(Action, (None, b"FULL", b"full", b"HDRS", b"hdrs")):
            of = message(parameters={} if ret is None else {b"RET": ret})
            parsed = self.parsed(notice(report(action), of=of))
            whole = action is Action.FAILED and ret not in (b"HDRS", b"hdrs")
            kind = "message/rfc822" if whole else "text/rfc822-headers"
            self.assertEqual(parsed.parts[2:], [kind], (action, ret))
            self.assertEqual(parsed.returned, ORIGINAL if whole else HEADER)

    def test_mixed(self) -> None:
        """One failure among them is enough."""
        made = notice(report(Action.DELIVERED), report(Action.FAILED))
        self.assertEqual(self.parsed(made).parts[2:], ["message/rfc822"])

    def test_nothing(self) -> None:
        """An empty message has no third part, and nothing is said of one."""
        parsed = self.parsed(notice(original=b""))
        self.assertEqual(len(parsed.parts), 2)
        self.assertNotIn("follows", parsed.text)

    def test_boundary_in_the_message(self) -> None:
        """A message that has guessed the boundary does not end its part."""
        ends = b"--=_2A--\r\n--=_2A_\r\nContent-Type: message/delivery-status\r\n\r\n"
        parsed = self.parsed(notice(original=ORIGINAL + ends))
        self.assertEqual(parsed.parts[2:], ["message/rfc822"])
        self.assertEqual(parsed.returned, ORIGINAL + ends)

    def test_unreadable(self) -> None:
        """A message that cannot be read is an error of the system's."""

        class Broken(Content):
            def plain(self):  # type: ignore[no-untyped-def]
                raise OSError("Input/output error")

        with self.assertRaises(OSError):
            compose(message(), Broken("", 1), [report()], ME, NOW, "2A")


words = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=100).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [
            b"\r\n\r\nFinal-Recipient: rfc822; x@example.com\r\nAction: delivered",
            b"\r\n--=_2A--\r\n",
            b"=?utf-8?q?=0D=0A=0D=0AAction:_delivered?=",
            b"\n\n\n",
            b" \t " * 30,
            b"x" * 5000,
            b"",
        ]
    ),
)
originals = st.lists(
    st.one_of(
        st.sampled_from([b"Subject: x", b" folded", b"", b".", b"..", b"From x", b"--=_2A--"]),
        st.binary(max_size=1200).map(lambda data: data.replace(b"\r", b"").replace(b"\n", b"")),
    ),
    max_size=12,
).map(lambda lines: b"".join(line + b"\r\n" for line in lines))
replies = st.builds(
    Reply, st.sampled_from([250, 421, 450, 550, 599]), st.lists(words, min_size=1, max_size=4)
    .map(tuple),
)  # fmt: skip
reports_ = st.builds(
    Report,
    recipient=st.sampled_from(
        [to(), to(ORCPT=b"rfc822;rcpt+2B@example.org"), to("bär@example.com".encode())]
    ),
    action=st.sampled_from(Action),
    reply=replies,
    peer=st.sampled_from([PEER, "", "2001:db8::9[2001:db8::9]:25"]),
    remote=st.booleans(),
    at=st.just(AT),
    retry_until=st.sampled_from([None, UNTIL]),
)


class AnythingTests(NoticeCase):
    """Whatever servers say and senders send."""

    @given(st.lists(reports_, min_size=1, max_size=4), originals, words)
    @examples(max_examples=200, deadline=None)
    def test_parses(self, reports: list[Report], original: bytes, envelope_id: bytes) -> None:
        """It is a sound mail with one status part, which has each recipient just once."""
        of = message(parameters={b"ENVID": envelope_id})
        parsed = self.parsed(notice(*reports, of=of, original=original))
        kinds = [part.get_content_type() for part in parsed.mail.iter_parts()]
        self.assertEqual(kinds.count("message/delivery-status"), 1)
        self.assertLessEqual(len(kinds), 3)
        self.assertEqual(len(parsed.groups), 1 + len(reports))
        for group, made in zip(parsed.groups[1:], reports, strict=True):
            self.assertEqual(group.get_all("Action"), [made.action.value])
            self.assertEqual(len(group.get_all("Final-Recipient", [])), 1)
            self.assertEqual(len(group.get_all("Diagnostic-Code", [])), 1)


def example() -> Notice:
    """The notification of the document: one recipient has failed, one is delayed."""
    return notice(
        report(recipient=to(ORCPT=b"rfc822;Rcpt@example.com")),
        report(
            Action.DELAYED,
            UNREACHABLE,
            recipient=to(b"other@example.org"),
            peer="mail.example.org:25",
            remote=False,
            retry_until=UNTIL,
        ),
        of=message(parameters={b"ENVID": b"QQ314159"}),
    )


class DocumentTests(NoticeCase):
    """docs/bounces.md."""

    def test_example(self) -> None:
        """Its example is what the code makes."""
        blocks = re.findall(r"^```\n(From: .*?)^```\n", DOCUMENT.read_text("utf-8"), re.M | re.S)
        self.assertEqual(blocks, [octets(example()).decode().replace("\r\n", "\n")])
        self.assertEqual(len(Parsed(octets(example())).groups), 3)
