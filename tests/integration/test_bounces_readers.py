"""Notifications in the programs that people read mail with: Mutt, and GNU Mailutils."""

from smtpforward.outbound.notify import Action
from smtpforward.reply import Reply
from tests.bouncesupport import ORIGINAL, message, notice, octets, report, to
from tests.peers.case import PeerTestCase
from tests.peers.readers import maildir, mailutils, mutt

GERMAN = Reply(550, ("5.1.1 kein Empfänger".encode(), b"5.1.1 No such user"))
BOUNCE = octets(
    notice(
        report(reply=GERMAN),
        report(Action.DELAYED, recipient=to("öther@example.org".encode())),
        original=ORIGINAL.replace(b"From here", b"Gr\xc3\xbc\xc3\x9fe"),
    )
)
DELAY = octets(
    notice(
        report(Action.DELAYED),
        of=message(parameters={b"RET": b"HDRS"}),
        original=ORIGINAL.replace(b"hello", "Grüße".encode()),
    )
)
EXPLAINED = (
    "Your message could not be delivered to:",
    "    <rcpt@example.com>",
    "    550-5.1.1 kein Empfänger",
    "    <öther@example.org>",
)
FIELDS = (
    "Final-Recipient: rfc822; rcpt@example.com",
    "Action: failed",
    r"Diagnostic-Code: smtp; 550-5.1.1 kein Empf\x{E4}nger",
    " 550 5.1.1 No such user",
    r"Final-Recipient: utf-8; \x{F6}ther@example.org",
    "Action: delayed",
)


class MuttTests(PeerTestCase):
    """Mutt."""

    async def parts(self, mail: bytes, count: int) -> list[str]:
        """The first ``count`` of the parts that it lists, decoded."""
        mailbox = maildir(self.folder(), mail)
        keys = ["<view-attachments>"]
        for number in range(count):
            keys += [f"<pipe-entry>cat >part{number}<enter>", "<next-entry>"]
        done = await mutt(mailbox, *keys, "<exit><exit>")
        self.assertEqual(0, done.exit_code, done.output)
        files = [mailbox.parent / f"part{number}" for number in range(count)]
        self.assertTrue(all(file.exists() for file in files), done.output)
        return [file.read_text("utf-8") for file in files]

    async def test_parts(self) -> None:
        """A bounce: what people read, what programs read, and the message as it was."""
        text, status, original = await self.parts(BOUNCE, 3)
        for line in EXPLAINED:
            self.assertIn(f"{line}\n", text)
        for line in FIELDS:
            self.assertIn(f"{line}\n", status)
        self.assertIn("Subject: hello\n\nHello,\n.\n.dotted\nGrüße on\n", original)

    async def test_header_only(self) -> None:
        """A delay notice: the header comes back with its own bytes."""
        text, status, header = await self.parts(DELAY, 3)
        self.assertIn("There is no need to send the message again", " ".join(text.split()))
        self.assertIn("Action: delayed\n", status)
        self.assertTrue(header.endswith("\nSubject: Grüße\n"), header)

    async def test_one_text(self) -> None:
        """Shown as one text, all parts are there, one after the other."""
        mailbox = maildir(self.folder(), BOUNCE)
        keys = ("<enter-command>set pipe_decode=yes<enter>", "<pipe-message>cat >shown<enter>")
        done = await mutt(mailbox, *keys, "<exit>")
        self.assertEqual(0, done.exit_code, done.output)
        shown = (mailbox.parent / "shown").read_text("utf-8")
        lines = (*EXPLAINED, FIELDS[0], "Action: failed", "Action: delayed", "Hello,", ".dotted")
        found = [shown.find(f"{line}\n") for line in lines]
        self.assertNotIn(-1, found)
        self.assertEqual(sorted(found), found)


class MailutilsTests(PeerTestCase):
    """GNU Mailutils' ``mail``."""

    async def said(self, mail: bytes, *commands: str) -> str:
        done = await mailutils(maildir(self.folder(), mail), *commands)
        self.assertEqual(0, done.exit_code, done.output)
        return done.output

    async def test_structure(self) -> None:
        """It finds three parts, with their types."""
        lines = (await self.said(BOUNCE, "struct 1")).splitlines()
        parts = [line.split()[:2] for line in lines if line.startswith("1.")]
        self.assertEqual(parts[:2], [["1.1", "text/plain;"], ["1.2", "message/delivery-status"]])
        self.assertEqual(len(parts), 3)
        lines = (await self.said(DELAY, "struct 1")).splitlines()
        [*_, last] = (line.split()[:2] for line in lines if line.startswith("1."))
        self.assertEqual(last, ["1.3", "text/rfc822-headers;"])

    async def test_decoded(self) -> None:
        """What it shows of each part is what was meant."""
        shown = await self.said(BOUNCE, "decode 1")
        for line in (*EXPLAINED, *FIELDS, "Hello,", ".dotted", "Grüße on"):
            self.assertIn(f"{line}\n", shown)
        self.assertIn("Subject: Grüße\n", await self.said(DELAY, "decode 1"))

    async def test_list(self) -> None:
        """In a list of messages it says whom it is from and what it is."""
        shown = await self.said(BOUNCE, "from 1")
        self.assertIn("Mail Delivery Syst", shown)
        self.assertIn("Undelivered mail", shown)
