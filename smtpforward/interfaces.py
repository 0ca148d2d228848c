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


class IQueueStore(Interface):
    """Where the outbound queue keeps its messages: durable, and shared by several processes.

    The values are those of ``outbound/entry.py``. Every method but ``now`` and
    ``watch`` gives a Deferred, which fails with one of ``outbound/errors.py``; then nothing was
    changed. What has fired is on disk.

    An entry that is leased is due again when its lease ends: so what a dead process had is taken
    over by another one.
    """

    def now():  # type: ignore[no-untyped-def]
        """The time by which entries are due and leases end, the same for all who share the store.

        :return: float, seconds since the epoch; not a Deferred.
        """

    def open(owner=None):  # type: ignore[no-untyped-def]
        """Make or migrate what is needed; the first call.

        :param owner: who is going to deliver; ``None`` where mail is only put in, or looked at. A
            store that only one process may deliver from gives all leases back to it here. A store
            that was opened without may be opened once more with one, and goes on meanwhile.
        """

    def close():  # type: ignore[no-untyped-def]
        """The last call: what was begun ends first."""

    def watch(changed):  # type: ignore[no-untyped-def]
        """Have ``changed()`` called soon after another process has made entries due.

        :return: nothing, not a Deferred.
        """

    def add(new):  # type: ignore[no-untyped-def]
        """Queue one :class:`NewMessage`; fires when it is on disk.

        :return: Deferred of a list: where it came with a lease, one :class:`Claimed` for each of
            its entries in order; else empty.
        """

    def due(most, but):  # type: ignore[no-untyped-def]
        """Which destinations have entries that are due, the earliest due first.

        :param most: at most so many. ``but``: those that are left out, a collection of strings.
        :return: Deferred of a list of strings.
        """

    def next_due(but):  # type: ignore[no-untyped-def]
        """When the next entry falls due, of all that are not held, but those of ``but``.

        :return: Deferred of a float, which may have passed, or of ``None``.
        """

    def claim(destination, most, lease, asked=False):  # type: ignore[no-untyped-def]
        """Lease up to ``most`` entries of ``destination`` that are due, the earliest due first.

        :param asked: whether only those that an operator has asked for (due at 0) are leased.
        :return: Deferred of a list of :class:`Claimed`; no entry is in the lists of two callers.
            Small messages come with their content, which saves asking for each.
        """

    def renew(entries, lease):  # type: ignore[no-untyped-def]
        """Prolong the leases of ``entries``, a collection of ids.

        :return: Deferred of a frozenset: those that were still ``lease.owner``'s.
        """

    def give_back(entries, owner, due):  # type: ignore[no-untyped-def]
        """End the leases of ``entries`` that ``owner`` has, with no attempt: due at ``due``."""

    def record(result):  # type: ignore[no-untyped-def]
        """Keep a :class:`Result`; a message none of whose recipients is queued any more goes.

        Recipients are recorded even when the lease has passed to another; ``due`` and the end of
        the lease only when it has not. To record a result twice does no harm.
        """

    def defer(destination, reply, intervals, most):  # type: ignore[no-untyped-def]
        """Count a failed attempt for up to ``most`` entries of a destination that backs off.

        Of those that are due and not leased, each with ``n`` attempts so far, ``n`` below
        ``len(intervals)``: it has ``n + 1`` then, and is due after ``intervals[n]`` seconds. The
        others stay as they are: for them it would be the last attempt. So do those that an
        operator has asked for (due at 0).

        :param reply: what the history says of it.
        :return: Deferred of how many were deferred.
        """

    def content(message):  # type: ignore[no-untyped-def]
        """The content of the message with that id, a :class:`smtpforward.content.Content`.

        The caller closes it.

        :raise KeyError: (from the Deferred) when there is none.
        """

    def listed(which, most, after):  # type: ignore[no-untyped-def]
        """Up to ``most`` :class:`Listed` of a :class:`Filter`, oldest message first.

        :param after: the last one of the page before, or ``None``.
        """

    def shown(message):  # type: ignore[no-untyped-def]
        """The :class:`Shown` of the message with that id, or ``None``."""

    def change(which, change):  # type: ignore[no-untyped-def]
        """Apply a :class:`Change` to the entries of a :class:`Filter`.

        In steps, where they are many: what was done before a failure stays done.

        :return: Deferred of how many entries it made a difference to; those that are leased, or
            held already and so on, are not counted.
        """

    def stats(most):  # type: ignore[no-untyped-def]
        """The :class:`Stats`, with at most ``most`` destinations."""
