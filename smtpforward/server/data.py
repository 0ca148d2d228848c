"""One message while it arrives: collected, or read to its end and thrown away.

A message that is refused on its way is discarded up to its end before the answer, so that the
client reads the answer and does not see a broken connection; but only up to twice the size limit.
The size is that of what is stored: a bare LF that became CRLF counts as two bytes.
"""

from smtpforward import answers
from smtpforward.config.settings import Limits
from smtpforward.content import Content, Form, Memory
from smtpforward.reply import Reply
from smtpforward.server.endofdata import EndOfData, NormalizingEndOfData

EMPTY_LINE = b"\r\n"  # it ends the header and is not part of it


class Arrival:
    """The data phase of one message.

    :param memory: where what it holds in memory is counted.
    :param normalize: whether bare LFs become CRLF, in place of a refusal.
    :ivar content: what has been collected. ``refusal``: the answer, once the message is refused.
    """

    __slots__ = ("_bound", "_end", "_limits", "_normalize", "_received", "content", "refusal")

    form = Form.WIRE

    def __init__(
        self,
        spool_dir: str,
        limits: Limits,
        memory: Memory | None = None,
        normalize: bool = False,
    ) -> None:
        self.content = Content(spool_dir, limits.spool_after, self.form, memory, limits.memory)
        self.refusal: Reply | None = None
        self._limits = limits
        self._normalize = normalize
        self._end = self._recogniser(normalize)
        self._received = 0
        # A header is no longer than its message: up to here nothing is looked at.
        self._bound = min(limits.header_bytes, limits.bytes)

    def _recogniser(self, normalize: bool) -> EndOfData:
        return NormalizingEndOfData() if normalize else EndOfData()

    def feed(self, chunk: bytes) -> bytes | None:
        """Take ``chunk``; what came behind the end of the message, or ``None`` before its end."""
        end = self._end
        piece = end.feed(chunk)
        self._received += len(piece)
        if self.refusal is None:
            self._collect(piece)
        return end.rest if end.ended else None

    @property
    def hopeless(self) -> bool:
        """Whether so much came after the refusal that the end is no longer waited for."""
        return self.refusal is not None and self._received > 2 * self._limits.bytes

    @property
    def breach(self) -> bool:
        """Whether the connection is to be closed after the answer: its line ends are no SMTP."""
        return self._end.bare_cr or (self._end.bare_lf and not self._normalize)

    def _collect(self, piece: bytes) -> None:
        if self.breach:
            self._refuse(answers.BARE_NEWLINE)
        elif self._received > self._limits.bytes:
            self._refuse(answers.TOO_LARGE)
        else:
            try:
                if piece:
                    self.content.append(piece)
                if self._received > self._bound:
                    self._look_at_header()
            except OSError:
                self._refuse(answers.SPOOL_FULL)

    def _look_at_header(self) -> None:
        """Once a message, when it is longer than its header may be."""
        most = self._limits.header_bytes
        if len(self.content.header(most + 1)) <= most:
            self._bound = self._limits.bytes
        elif self._end.ended or self._received > most + len(EMPTY_LINE):
            self._refuse(answers.HEADER_TOO_LARGE)

    def _refuse(self, reply: Reply) -> None:
        self.refusal = reply
        self.content.close()
