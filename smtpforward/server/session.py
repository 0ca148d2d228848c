"""What one client's connection asks: the gateway's ``ISession``.

It gives each transaction a delivery object of its own and keeps what is known of the client.
"""

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.mail.interfaces import IMessageDeliveryFactory
from zope.interface import implementer

from smtpforward import answers
from smtpforward.config.settings import Settings
from smtpforward.content import Content
from smtpforward.counts import NONE
from smtpforward.dispatch import Dispatcher
from smtpforward.envelope import Address, Client, Recipient
from smtpforward.interfaces import ISession
from smtpforward.net.clock import Clock
from smtpforward.record import Ended, Transaction, log_entry, new_id
from smtpforward.reply import Reply
from smtpforward.server.delivery import Refusal, RoutingDelivery
from smtpforward.server.message import Message
from smtpforward.server.submission import missing_fields


@implementer(ISession, IMessageDeliveryFactory)
class GatewaySession:
    """Routing as a link between the protocol and the dispatcher.

    :param settings: asked anew for each transaction.
    """

    def __init__(
        self,
        client: Client,
        settings: Callable[[], Settings],
        dispatcher: Dispatcher,
        clock: Clock,
    ) -> None:
        self.client = client
        # As Twisted's interfaces have it: the name and the address.
        self._helo = (b"", client.ip.encode("ascii"))
        self._settings = settings
        self._seen: Settings | None = None
        self._look_up(settings())
        self._dispatcher = dispatcher
        self._clock = clock
        self._sender: tuple[Address, dict[bytes, bytes]] | None = None
        self._delivery: RoutingDelivery | None = None
        self._to_message: Callable[[], Message] | None = None
        self._handing_over: Deferred[Reply] | None = None

    def _look_up(self, settings: Settings) -> None:
        """Whether the client relays by these settings; a login holds under any."""
        self._seen = settings
        relays = self.client.ip in settings.access.relays
        if not self.client.user and relays != self.client.relaying:
            self.client = self.client.let_in("relay_acl_allow" if relays else "")

    def connected(self) -> Reply | None:
        """Every client is greeted."""
        return None

    def helo(self, name: bytes, extended: bool) -> Reply | None:
        """Every name is taken, and kept."""
        protocol = "ESMTP" if extended else "SMTP"
        self.client = self.client.saying(name, protocol)
        self._helo = (name, self.client.ip.encode("ascii"))
        return None

    def authenticated(self, user: str) -> Reply | None:
        """Every user relays."""
        self.client = attrs.evolve(self.client, user=user, relaying_by="its login")
        return None

    def getMessageDelivery(self) -> RoutingDelivery:
        """A new delivery object for a new transaction."""
        return self._new_delivery(self._settings())

    def _new_delivery(self, settings: Settings) -> RoutingDelivery:
        sender, parameters = self._sender or (Address(b""), {})
        transaction = Transaction(new_id(), self.client, sender, parameters, self._clock.seconds())
        return RoutingDelivery(settings, self._dispatcher, transaction)

    def mail(self, sender: Address, parameters: dict[bytes, bytes]) -> Reply | None:
        """Begin a transaction."""
        settings = self._settings()
        if settings is not self._seen:
            self._look_up(settings)
        self._sender = (sender, parameters)
        self._delivery = self._new_delivery(settings)
        try:
            self._delivery.validateFrom(self._helo, sender)
        except Refusal as refusal:
            self._log_at_command("MAIL", refusal, ())
            return refusal.reply
        return None

    def rcpt(self, recipient: Recipient) -> Reply | None:
        """Route one recipient."""
        assert self._delivery is not None, "RCPT comes after MAIL"
        try:
            self._to_message = self._delivery.validateTo(recipient)
        except Refusal as refusal:
            self._log_at_command("RCPT", refusal, (recipient,))
            return refusal.reply
        return None

    def data(self) -> Reply | None:
        """Every transaction with a recipient may send its message."""
        return None

    def end_of_data(self, content: Content) -> "Deferred[Reply] | Reply":
        """Put header lines before the message and hand it over."""
        assert self._delivery is not None, "data comes after MAIL"
        assert self._to_message is not None, "data comes after RCPT"
        transaction = self._delivery.transaction
        message = self._to_message()
        message.content = content
        content.prefix = self._delivery.receivedHeader(
            self._helo, transaction.sender, transaction.recipients
        )
        if transaction.client.relaying:
            content.prefix += missing_fields(content, self._delivery.me, transaction.id)
        answer = message.eomReceived()
        if isinstance(answer, Deferred):
            self._handing_over = answer
        else:
            self._log_refused(transaction, content.size, answer, answers.LOOPING)
        return answer

    def discarded(self, reply: Reply) -> Reply:
        """``reply`` with the transaction's id; the log says what became of the message."""
        if self._delivery is None:
            return reply
        transaction = self._delivery.transaction
        signed = answers.signed(reply, transaction.id)
        self._log_refused(transaction, 0, signed, reply)
        return signed

    def _log_refused(self, transaction: Transaction, size: int, reply: Reply, plain: Reply) -> None:
        """One entry for a message that was refused.

        :param plain: the reply without the transaction's id.
        """
        transaction.size = size
        rule = self._refused_by(answers.rule_of(plain))
        self._dispatcher.counts.transactions[NONE, transaction.status(reply)] += 1
        log_entry(Ended(transaction, reply, self._clock.seconds(), rule=rule))

    def _refused_by(self, rule: str) -> str:
        self._dispatcher.counts.refusals[rule] += 1
        return rule

    def _log_at_command(self, command: str, refusal: Refusal, refused: Sequence[Recipient]) -> None:
        """One entry for a sender or a recipient that was refused at its command."""
        assert self._delivery is not None, "it is what refuses"
        only = attrs.evolve(self._delivery.transaction, recipients=list(refused))
        now = self._clock.seconds()
        rule = self._refused_by(refusal.rule)
        log_entry(Ended(only, refusal.reply, now, command, rule, refusal.reason))

    def reset(self) -> None:
        """Forget the transaction."""
        self._sender = self._delivery = self._to_message = self._handing_over = None

    def closed(self) -> None:
        """The client has gone: give up a hand-over that has not come to its dot."""
        handing_over = self._handing_over
        self.reset()
        if handing_over is not None:
            handing_over.cancel()
