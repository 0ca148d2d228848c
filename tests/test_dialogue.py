"""What of a dialogue is shown, and what never is."""

import base64

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.dialogue import Dialogue

PASSWORD = b"correct horse"
PLAIN = base64.b64encode(b"\0ann\0" + PASSWORD)


class Shown(list[str]):
    """The lines, as ``C: ...`` and ``S: ...``."""

    def __init__(self) -> None:
        super().__init__()
        self.dialogue = Dialogue(lambda who, text: self.append(f"{who}: {text}"))
        self.dialogue.server(b"220 backend.example ESMTP\r\n")
        self.clear()

    def talk(self, *said: bytes) -> list[str]:
        """The client and the server in turn; what was shown since the last time."""
        for number, data in enumerate(said):
            (self.dialogue.server if number % 2 else self.dialogue.client)(data)
        lines = list(self)
        self.clear()
        return lines


class DialogueTests(SynchronousTestCase):
    """From both directions' bytes to lines."""

    def test_commands_and_replies(self) -> None:
        """Each line, in order; what is not printable is escaped."""
        self.assertEqual(
            Shown().talk(b"EHLO c.example\r\nVR", b"250-s\r\n250 SIZE 7\r\n", b"FY a\x1b\r\n"),
            ["C: EHLO c.example", "S: 250-s", "S: 250 SIZE 7", "C: VRFY a\\x1b"],
        )

    def test_message(self) -> None:
        """Its octets, as they come, with the dots of the wire; then commands again."""
        shown = Shown()
        body = b"Subject: secret\r\n\r\n..\r\nRSET\r\n"
        shown.talk(b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
        self.assertEqual(shown.talk(b"", b"250 a\r\n250 b\r\n354 go\r\n")[-1], "S: 354 go")
        for octet in body[:9], body[9:], b".\r", b"\nQUIT\r\n":
            shown.dialogue.client(octet)
        said = shown.talk(b"", b"250 taken\r\n221 bye\r\n")
        told = [f"C: ({len(body)} octets of a message)", "C: .", "S: 250 taken", "C: QUIT"]
        self.assertEqual(said, [*told, "S: 221 bye"])

    def test_empty_message(self) -> None:
        """A dot at once."""
        shown = Shown()
        shown.talk(b"DATA\r\n", b"354 go\r\n")
        self.assertEqual(shown.talk(b".\r\n"), ["C: (0 octets of a message)", "C: ."])

    def test_message_before_its_time(self) -> None:
        """What follows DATA is not shown before the reply says what it is."""
        shown = Shown()
        self.assertEqual(shown.talk(b"DATA\r\nQUIT yes\r\nmy words\r\n"), ["C: DATA"])
        self.assertEqual(
            shown.talk(b"", b"354 go\r\n", b".\r\n")[1:],
            ["C: (20 octets of a message)", "C: ."],
        )
        shown = Shown()
        shown.talk(b"DATA\r\nRSET\r\nmy words\r\n")
        self.assertEqual(
            shown.talk(b"", b"554 no\r\n"),
            ["S: 554 no", "C: RSET", "C: (8 octets that are no command)"],
        )

    def test_chunks(self) -> None:
        """The octets of each chunk, whatever they look like."""
        shown = Shown()
        said = shown.talk(b"BDAT 6\r\nQUIT\r", b"", b"\nBDAT 0 LAST\r\nRSET\r\n")
        told = ["C: BDAT 6", "C: (6 octets of a message)", "C: BDAT 0 LAST"]
        self.assertEqual(said, [*told, "C: (0 octets of a message)", "C: RSET"])

    def check_secret(self, said: list[str]) -> list[str]:
        """Nothing of the password is there, in any form."""
        text = "\n".join(said)
        for secret in (PLAIN, PASSWORD, base64.b64encode(PASSWORD)):
            self.assertNotIn(secret.decode(), text)
        return said

    def test_plain(self) -> None:
        """The response, in the command or after it, also where the server repeats it."""
        for words in (
            (b"AUTH PLAIN %b\r\n" % PLAIN, b"535 what is %b\r\n" % PLAIN),
            (b"auth plain\r\n", b"334 \r\n", PLAIN + b"\r\n", b"535 not %b\r\n" % PASSWORD),
            (b"AUTH %b\r\n" % PLAIN, b"504 no %b\r\n" % PLAIN),
        ):
            said = self.check_secret(Shown().talk(*words))
            self.assertTrue(said[0].lower().startswith("c: auth"), said)
            self.assertIn("***", said[0] if len(words) == 2 else said[2])
            self.assertIn("***", said[-1])

    def test_login(self) -> None:
        """Both lines; then commands are commands."""
        talk = (
            *(b"AUTH LOGIN\r\n", b"334 VXNlcg==\r\n", b"YW5u\r\n", b"334 UGFzcw==\r\n"),
            *(base64.b64encode(PASSWORD) + b"\r\n", b"235 in\r\n", b"NOOP\r\n"),
        )
        said = self.check_secret(Shown().talk(*talk))
        self.assertEqual([line for line in said if line[0] == "C"],
                         ["C: AUTH LOGIN", "C: ***", "C: ***", "C: NOOP"])  # fmt: skip

    def test_password_at_the_wrong_moment(self) -> None:
        """A client that goes on with a login which was refused is not quoted."""
        response = base64.b64encode(PASSWORD) + b"\r\n"
        shown = Shown()
        said = shown.talk(b"AUTH LOGIN\r\n", b"504 no\r\n", b"YW5u\r\n" + response, b"500 what\r\n")
        self.check_secret(said)
        self.assertIn("C: (4 octets that are no command)", said)
        self.check_secret(Shown().talk(b"AUTH LOGIN\r\n" + response, b"504 no\r\n"))

    def test_endless(self) -> None:
        """Memory is bounded: a line without an end, and what waits for a reply for too long."""
        shown = Shown()
        shown.talk(b"x" * 12290)
        self.assertEqual(shown.talk(b"x"), ["C: (12291 octets that are no command)"])
        shown.talk(b"DATA\r\n")
        for _ in range(5):
            shown.dialogue.client(b"x" * 65536)
        self.assertEqual(shown.talk(), ["C: (too much at once: not followed any more)"])
        self.assertEqual(shown.talk(b"more", b"250 ok\r\n"), ["S: 250 ok"])

    @given(st.lists(st.integers(1, 60), max_size=12))
    def test_pieces(self, cuts: list[int]) -> None:
        """It is the same in whatever pieces it comes."""
        data = b"NOOP\r\nBDAT 3\r\n.\r\nAUTH PLAIN %b\r\n" % PLAIN
        whole, pieces = Shown(), Shown()
        rest = data
        for cut in cuts:
            pieces.dialogue.client(rest[:cut])
            rest = rest[cut:]
        pieces.dialogue.client(rest)
        self.assertEqual(whole.talk(data), pieces.talk())
