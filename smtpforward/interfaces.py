"""The contracts between the parts. An embedding application can supply its own of each."""

from zope.interface import Attribute, Interface


class IDeliver(Interface):
    """A target: the forwarding client, and whatever else takes messages."""

    def deliver(job):  # type: ignore[no-untyped-def]
        """Hand over one message.

        :param job: a :class:`smtpforward.job.Job`.
        :return: Deferred of a list with one :class:`smtpforward.job.Outcome` per recipient, in the
            envelope's order. A foreseen failure is an outcome; the Deferred fails only for a fault
            of the gateway's own. Cancelled before the final dot was sent, it closes the connection
            to the backend; later the transaction runs on to its reply, which is logged.
        """


class ISession(Interface):
    """What one client's connection asks at each of its steps.

    Each method may answer at once or with a Deferred: ``None`` to go on, or a
    :class:`smtpforward.reply.Reply` that refuses. A failure is answered ``451 4.3.0``.
    The server protocol asks nothing while an answer is outstanding, except ``closed``. A reply of
    421 ends the connection. For ``discarded``, ``reset`` and ``closed`` nobody waits; a failure
    of the last two is only logged.

    After STARTTLS a new session takes the place of the one before, which is told ``closed``: its
    client is in the state that follows the greeting, and ``connected`` is not asked again.
    """

    client = Attribute("The :class:`smtpforward.envelope.Client`.")

    def connected():  # type: ignore[no-untyped-def]
        """The connection is there; the greeting waits for the answer."""

    def helo(name, extended):  # type: ignore[no-untyped-def]
        """HELO, or EHLO when ``extended``: ``name`` is its argument, bytes."""

    def authenticated(user):  # type: ignore[no-untyped-def]
        """AUTH has proved that the client is ``user``, a string; refused, it has not logged in."""

    def mail(sender, parameters):  # type: ignore[no-untyped-def]
        """MAIL: an :class:`smtpforward.envelope.Address` and its parameters."""

    def rcpt(recipient):  # type: ignore[no-untyped-def]
        """RCPT: an :class:`smtpforward.envelope.Recipient`."""

    def data():  # type: ignore[no-untyped-def]
        """DATA, before ``354``."""

    def end_of_data(content):  # type: ignore[no-untyped-def]
        """The whole message is here.

        :param content: a :class:`smtpforward.content.Content`; the caller closes it afterwards.
        :return: the Reply to the dot, or a Deferred of it (never ``None``).
        """

    def discarded(reply):  # type: ignore[no-untyped-def]
        """The message was refused while it arrived.

        :param reply: what the protocol would answer to its end.
        :return: the Reply to answer in its place.
        """

    def reset():  # type: ignore[no-untyped-def]
        """The transaction is over: RSET, a new HELO, or its end."""

    def closed():  # type: ignore[no-untyped-def]
        """The client has gone, or goes on under TLS with another session.

        Whatever waits for an answer is to be given up where it may be.
        """
