"""An SMTP reply: code, and lines of text as they stand on the wire after the code.

Rules: a reply that leaves the gateway has at least one line, no CR or LF in a line, and, for the
codes that RFC 2034 names, an enhanced status code. Nothing here reads from a socket.
"""

import re

from attrs import field, frozen

ENHANCED = re.compile(rb"([245])\.(\d{1,3})\.(\d{1,3})(?: |$)")
MAX_TEXT = 506  # of a reply line of 512 bytes (RFC 5321 4.5.3.1.5)
UNPRINTABLE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


@frozen(slots=True)
class Reply:
    """A complete reply (RFC 5321 4.2).

    :ivar code: 200 to 599.
    :ivar lines: the text of each line, without code and separator; a backend's own bytes.
    """

    code: int
    lines: tuple[bytes, ...] = field(default=(b"",))
    _wire: bytes = field(default=b"", init=False, eq=False, repr=False)
    _status: bytes = field(default=b"", init=False, eq=False, repr=False)

    @property
    def positive(self) -> bool:
        """Whether the mail system says yes: 25z, RFC 5321 4.2.1.

        22z speaks of the channel: such a reply here belongs to another command.
        """
        return 250 <= self.code <= 259

    @property
    def permanent(self) -> bool:
        """Whether asking again is no use: 5yz."""
        return 500 <= self.code <= 599

    @property
    def status(self) -> bytes:
        """The enhanced status code (RFC 3463), or the class's undefined one (``b"5.0.0"``)."""
        if not self._status:
            given = self._given_status()
            object.__setattr__(self, "_status", given or b"%d.0.0" % (self.code // 100))
        return self._status

    def _given_status(self) -> bytes:
        """The enhanced status code of the first line, when it is one of the code's class."""
        match = ENHANCED.match(self.lines[0])
        return match[0].rstrip() if match and match[1] == b"%d" % (self.code // 100) else b""

    @property
    def text(self) -> str:
        """Code and all lines, in one line of a log."""
        joined = b" ".join(self.lines).decode("utf-8", "backslashreplace")
        return f"{self.code} {joined}".rstrip()

    def enhanced(self) -> "Reply":
        """This reply with an enhanced status code on each line (RFC 2034 4)."""
        first, status = self.lines[0], self.status
        if len(self.lines) == 1 and first.partition(b" ")[0] == status:
            return self
        mark = status + b" "
        return Reply(self.code, tuple(_marked(line, mark) for line in self.lines))

    def wire(self) -> bytes:
        """The bytes of this reply, CRLF included."""
        if not self._wire:
            # Most replies are constants: made once.
            object.__setattr__(self, "_wire", self._make_wire())
        return self._wire

    def _make_wire(self) -> bytes:
        texts = [UNPRINTABLE.sub(b"?", line)[:MAX_TEXT] for line in self.lines]
        head = b"".join(b"%d-%b\r\n" % (self.code, text) for text in texts[:-1])
        return b"%b%d %b\r\n" % (head, self.code, texts[-1])


def _marked(line: bytes, mark: bytes) -> bytes:
    return line if ENHANCED.match(line) else mark + line
