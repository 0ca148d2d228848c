"""An SMTP dialogue as it may be shown: what both sides say, without secrets and without mail.

Pure: the bytes of both directions go in, lines come out. What may be shown is known by name: a
command that is none of these is shown by its length only, so that nothing of a message, and no
password that somebody sends at the wrong moment, ever is. The argument of AUTH and the client's
lines of a login are blanked, also where the server repeats them; a message is told in octets.

Replies are counted against commands, for what follows DATA or AUTH depends on the reply.
"""

import base64
import contextlib
import enum
from collections.abc import Callable

CLIENT, SERVER = "C", "S"
BLANK = "***"
COMMANDS = frozenset(
    b"HELO EHLO LHLO MAIL RCPT DATA BDAT RSET NOOP QUIT VRFY EXPN HELP STARTTLS AUTH".split()
)
END = b"\r\n.\r\n"
MAX_LINE = 12288 + 2
MAX_UNREAD = 262144
MAX_SECRETS = 12
SHORTEST_SECRET = 4


class _State(enum.Enum):
    """What the client's next bytes are."""

    COMMAND = "commands"
    ANSWER = "not known before the reply to the last command"
    LOGIN = "a line of a login"
    DATA = "a message, up to its dot"
    CHUNK = "octets of a chunk"
    LOST = "not followed any more"


class Dialogue:
    """One connection, from its greeting on; TLS makes no difference to it.

    :param say: gets ``C`` or ``S``, and what that side has said, in one printable line.
    """

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self._say = say
        self._state = _State.COMMAND
        self._unread = b""
        self._reply = b""
        self._owed = 1  # the greeting
        self._octets = 0
        self._left = 0
        self._tail = b""
        self._secrets: list[bytes] = []

    # -- the client's side

    def client(self, data: bytes) -> None:
        """The client has said ``data``."""
        if self._state is _State.LOST:
            return
        self._unread += data
        while self._unread and self._step():
            pass
        if len(self._unread) > MAX_UNREAD:
            self._state, self._unread = _State.LOST, b""
            self._say(CLIENT, "(too much at once: not followed any more)")

    def _step(self) -> bool:
        """Take what is whole; whether there may be more."""
        if self._state is _State.DATA:
            return self._take_data()
        if self._state is _State.CHUNK:
            return self._take_chunk()
        if self._state is _State.ANSWER:
            return False
        line = self._line()
        if line is None:
            return False
        self._owed += 1
        if self._state is _State.LOGIN:
            self._state = _State.ANSWER
            self._keep_secret(line)
            self._say(CLIENT, "*" if line == b"*" else BLANK)
        else:
            self._command(line)
        return True

    def _line(self) -> bytes | None:
        end = self._unread.find(b"\n")
        if end < 0 and len(self._unread) <= MAX_LINE:
            return None
        cut = end + 1 if end >= 0 else len(self._unread)
        line, self._unread = self._unread[:cut], self._unread[cut:]
        return line.removesuffix(b"\n").removesuffix(b"\r")

    def _command(self, line: bytes) -> None:
        verb, *rest = line.split(None, 2) or [b""]
        name = verb.upper()
        if name not in COMMANDS:
            self._say(CLIENT, f"({len(line)} octets that are no command)")
        elif name == b"AUTH":
            self._login(verb, rest)
        else:
            self._say(CLIENT, shown(line))
        if name in (b"DATA", b"AUTH", b"STARTTLS"):
            self._state = _State.ANSWER
        elif name == b"BDAT" and rest and rest[0].isdigit() and len(rest[0]) < 20:
            self._state, self._octets = _State.CHUNK, int(rest[0])
            self._left = self._octets
            self._end_chunk()

    def _login(self, verb: bytes, rest: list[bytes]) -> None:
        mechanism = rest[0] if rest and rest[0].replace(b"-", b"").isalnum() else b""
        words = [shown(verb)]
        if mechanism and len(mechanism) <= 20:
            words.append(shown(mechanism))
        elif rest:
            self._keep_secret(rest[0])
            words.append(BLANK)
        if len(rest) > 1:
            self._keep_secret(rest[1])
            words.append(BLANK)
        self._say(CLIENT, " ".join(words))

    def _take_data(self) -> bool:
        window = self._tail + self._unread
        end = window.find(END)
        if end < 0:
            self._octets += len(self._unread)
            self._tail, self._unread = window[1 - len(END) :], b""
            return False
        taken = end + len(END) - len(self._tail)
        octets = self._octets + taken - len(b".\r\n")
        self._unread = self._unread[taken:]
        self._owed += 1
        self._state = _State.ANSWER
        self._say(CLIENT, f"({octets} octets of a message)")
        self._say(CLIENT, ".")
        return True

    def _take_chunk(self) -> bool:
        taken = min(self._left, len(self._unread))
        self._unread = self._unread[taken:]
        self._left -= taken
        self._end_chunk()
        return True

    def _end_chunk(self) -> None:
        if not self._left:
            self._state = _State.COMMAND
            self._say(CLIENT, f"({self._octets} octets of a message)")

    def _keep_secret(self, text: bytes) -> None:
        """Whatever of it the server repeats is blanked, as it stands or decoded."""
        found = [text]
        with contextlib.suppress(ValueError):
            found.append(base64.b64decode(text, validate=True).split(b"\0")[-1])
        self._secrets += [one for one in found if len(one) >= SHORTEST_SECRET]
        # A longer one may hold a shorter one.
        self._secrets = sorted(self._secrets[-MAX_SECRETS:], key=len, reverse=True)

    # -- the server's side

    def server(self, data: bytes) -> None:
        """The server has said ``data``."""
        *lines, self._reply = (self._reply + data).split(b"\n")
        self._reply = self._reply[-MAX_LINE:]
        for line in lines:
            line = line.removesuffix(b"\r")
            text = line
            for secret in self._secrets:
                text = text.replace(secret, BLANK.encode())
            self._say(SERVER, shown(text))
            if line[3:4] != b"-":
                self._answered(line[:3])

    def _answered(self, code: bytes) -> None:
        """One reply is whole."""
        self._owed = max(0, self._owed - 1)
        if self._state is not _State.ANSWER:
            return
        if code == b"334":
            self._state = _State.LOGIN
        elif code == b"354":
            self._state, self._octets, self._tail = _State.DATA, 0, b"\r\n"
        elif not self._owed:
            self._state = _State.COMMAND
        self.client(b"")


def shown(line: bytes) -> str:
    """A line as text that breaks and forges none: what is not printable is escaped."""
    text = line.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
