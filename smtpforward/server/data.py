"""One message while it arrives: collected, or read to its end and thrown away.

A message that is refused on its way is discarded up to its end before the answer, so that the
client reads the answer and does not see a broken connection; but only up to twice the size limit.
"""

from smtpforward import answers
from smtpforward.config.settings import Limits
from smtpforward.content import Content
from smtpforward.reply import Reply
from smtpforward.server.endofdata import EndOfData


class Arrival:
    """The data phase of one message.

    :ivar content: what has been collected. ``refusal``: the answer, once the message is refused.
    """

    __slots__ = ("_end", "_limits", "_received", "content", "refusal")

    def __init__(self, spool_dir: str, limits: Limits) -> None:
        self.content = Content(spool_dir, limits.spool_after)
        self.refusal: Reply | None = None
        self._limits = limits
        self._end = EndOfData()
        self._received = 0

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
        return self._end.bare_cr or self._end.bare_lf

    def _collect(self, piece: bytes) -> None:
        if self.breach:
            self._refuse(answers.BARE_NEWLINE)
        elif self._received > self._limits.bytes:
            self._refuse(answers.TOO_LARGE)
        elif piece:
            try:
                self.content.append(piece)
            except OSError:
                self._refuse(answers.SPOOL_FULL)

    def _refuse(self, reply: Reply) -> None:
        self.refusal = reply
        self.content.close()
