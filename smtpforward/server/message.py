"""The one message of a transaction, shared by all its recipients.

Twisted's server makes an ``IMessage`` for each recipient and feeds each with every line; here all
recipients get this one, and the protocol hands it the collected content as a whole.
"""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.mail.interfaces import IMessageSMTP
from twisted.mail.smtp import SMTPServerError
from zope.interface import implementer

from smtpforward import answers
from smtpforward.content import BARE_NEWLINE, Content
from smtpforward.dispatch import Dispatcher
from smtpforward.record import Transaction
from smtpforward.reply import Reply


@implementer(IMessageSMTP)
class Message:
    """What ``validateTo``'s callable returns: the end of data goes to the dispatcher.

    :ivar content: set when the data has come.
    """

    def __init__(
        self, transaction: Transaction, dispatcher: Dispatcher, me: str, max_received: int
    ) -> None:
        self.transaction = transaction
        self.content: Content | None = None
        self._dispatcher = dispatcher
        self._me = me
        self._max_received = max_received

    def lineReceived(self, line: bytes) -> None:
        """One line of data without its end, for callers that have nothing better.

        :raise SMTPServerError: when the line holds a bare CR or LF.
        """
        if BARE_NEWLINE.search(line):
            raise SMTPServerError(answers.BARE_NEWLINE.code, answers.BARE_NEWLINE.lines[0])
        if self.content is None:
            self.content = Content.from_plain(b"")
        self.content.append(line + b"\r\n")

    def eomReceived(self) -> "Deferred[Reply] | Reply":
        """The data has ended: the reply, or a Deferred of it."""
        assert self.content is not None, "the content comes before its end"
        if loops(self.content, self._me, self._max_received):
            return answers.signed(answers.LOOPING, self.transaction.id)
        return self._dispatcher.submit(self.transaction, self.content)

    def connectionLost(self) -> Any:
        """The data did not end."""
        if self.content is not None:
            self.content.close()


OWN_RECEIVED_LIMIT = 5


def loops(content: Content, me: str, max_received: int) -> bool:
    """Whether the header shows a mail loop: too many hops, or this one for the fifth time."""
    header = content.lowered_header()
    hops = header.count(b"\nreceived:") + header.startswith(b"received:")
    if hops >= max_received:
        return True
    if hops < OWN_RECEIVED_LIMIT:
        return False
    unfolded = header.replace(b"\r\n\t", b" ").replace(b"\r\n ", b" ")
    own = b" by %b " % me.lower().encode("ascii")
    lines = (line for line in unfolded.split(b"\n") if line.startswith(b"received:"))
    return sum(own in line for line in lines) >= OWN_RECEIVED_LIMIT
