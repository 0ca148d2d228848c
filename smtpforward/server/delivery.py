"""Routes each recipient of one transaction: Twisted's ``IMessageDelivery``.

One object serves one transaction and holds the settings of the moment in which it began, so that
a change of settings touches only transactions that begin later.
"""

from collections.abc import Callable

from twisted.logger import Logger
from twisted.mail.interfaces import IMessageDelivery
from twisted.mail.smtp import SMTPServerError
from zope.interface import implementer

from smtpforward import answers, routing
from smtpforward.config.settings import Settings
from smtpforward.dispatch import Dispatcher
from smtpforward.envelope import Address, Client, Recipient
from smtpforward.record import Transaction
from smtpforward.reply import Reply
from smtpforward.server.message import Message
from smtpforward.server.received import received_line


class Refusal(SMTPServerError):  # noqa: N818 -- SMTP calls it that
    """A refused command.

    :ivar reply: the answer to it. ``rule``: which rule refused it, ``reason`` why: for the log.
    """

    def __init__(self, reply: Reply, rule: str, reason: str) -> None:
        SMTPServerError.__init__(self, reply.code, b"\n".join(reply.lines))
        self.reply = reply
        self.rule = rule
        self.reason = reason


@implementer(IMessageDelivery)
class RoutingDelivery:
    """Accepts or refuses the sender and each recipient of one transaction.

    :ivar transaction: the facts so far. ``me``: this host's name.
    """

    log = Logger()

    def __init__(
        self, settings: Settings, dispatcher: Dispatcher, transaction: Transaction
    ) -> None:
        self.transaction = transaction
        self.me = settings.me
        self._settings = settings
        self._dispatcher = dispatcher
        self._message: Message | None = None
        self._way: routing.Way | None = None

    def validateFrom(self, helo: tuple[bytes, bytes], origin: Address) -> Address:
        """``origin``, accepted.

        :raise Refusal: with the reply that this sender gets.
        """
        transaction = self.transaction
        refused = routing.decide_sender(self._settings, transaction.client, origin)
        if refused is not None:
            raise self._refusal(refused)
        return origin

    def validateTo(self, user: Recipient) -> Callable[[], Message]:
        """A callable that gives the transaction's message.

        :raise Refusal: with the reply that this recipient gets.
        """
        transaction = self.transaction
        if len(transaction.recipients) >= self._settings.limits.recipients:
            why = "recipients: as many as [max] recipients allows are there"
            raise self._refusal(routing.Refuse(answers.TOO_MANY_RECIPIENTS, why))
        decision = routing.decide(
            self._settings, transaction.client, transaction.sender, user.address, self._way
        )
        if isinstance(decision, routing.Refuse):
            if decision.fault:
                self.log.error("id={id}: {why}", id=transaction.id, why=decision.why)
            raise self._refusal(decision)
        if decision.taken.next_hop is None:
            transaction.queued = True
        else:
            learned = self._dispatcher.learned.recall(
                decision.route.next_hop, transaction.sender, user.address
            )
            if learned is not None:
                why = "the backend refused this recipient of late"
                raise Refusal(learned, answers.LEARNED, why)
        self._way = decision.taken
        transaction.recipients.append(user)
        transaction.routes.append(decision.route)
        return self.message

    def _refusal(self, refused: routing.Refuse) -> Refusal:
        reply = answers.signed(refused.reply, self.transaction.id)
        return Refusal(reply, answers.rule_of(refused.reply), refused.why)

    def message(self) -> Message:
        """The message that all recipients share."""
        if self._message is None:
            self._message = Message(
                self.transaction,
                self._dispatcher,
                self.me,
                self._settings.limits.max_received,
            )
        return self._message

    def receivedHeader(
        self, helo: tuple[bytes, bytes], origin: Address, recipients: list[Recipient]
    ) -> bytes:
        """The ``Received`` line that is put before the message, CRLF included."""
        only = recipients[0].address.path if len(recipients) == 1 else b""
        client: Client = self.transaction.client
        utf8 = b"SMTPUTF8" in self.transaction.parameters
        return received_line(client, self.me, self.transaction.id, only, utf8)
