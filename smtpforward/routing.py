"""Pure decisions: may this sender and this recipient be accepted, and on which way do they travel?

Nothing here waits or reads a file. A decision says why, in words that name file and rule, so that
an operator can ask for it without sending mail.
"""

from functools import lru_cache

from attrs import frozen

from smtpforward import answers
from smtpforward.config import names
from smtpforward.config.settings import Access, Route, Routes, Settings
from smtpforward.envelope import Address, Client
from smtpforward.job import Delivery, NextHop
from smtpforward.reply import Reply

ROUTING_CHARACTERS = frozenset(b"@%!|")


_BY_NAME = {delivery.value: delivery for delivery in Delivery}
# (relaying, enable_outbound) where ``queue`` does not say it.
_CHOICE = {
    (False, True): Delivery.SMTP_FORWARD,
    (False, False): Delivery.SMTP_FORWARD,
    (True, True): Delivery.SMTP_FORWARD,
    (True, False): Delivery.OUTBOUND,
}


@frozen(slots=True)
class Way:
    """What decides where and how a recipient is handed over; equal ones share a transaction.

    :ivar next_hop: ``None`` on the way through the outbound queue, which finds it itself.
    :ivar alone: whether each of its recipients has a transaction to itself.
    :ivar partial_rejection: what is answered where the backend refuses some of its recipients.
    """

    delivery: Delivery
    next_hop: NextHop | None
    alone: bool = False
    partial_rejection: str = "learn"

    def __str__(self) -> str:
        return "to the outbound queue" if self.next_hop is None else f"to {self.next_hop}"


# What a transaction has whose recipients have several ways: all of it is queued.
SPLIT = Way(Delivery.OUTBOUND, None)


@frozen(slots=True)
class Accept:
    """The recipient travels on ``route``, by ``way``.

    :ivar taken: the way of the whole transaction from now on: the same one, or ``SPLIT``.
    """

    route: Route
    way: Way
    reasons: tuple[str, ...]
    taken: Way

    @property
    def why(self) -> str:
        """All reasons in one line."""
        return "; ".join(self.reasons)


@frozen(slots=True)
class Refuse:
    """The sender or recipient gets ``reply``: 4yz when it may come again, 5yz when not.

    :ivar fault: whether the gateway's set-up is why, so that an operator should look.
    """

    reply: Reply
    why: str
    fault: bool = False


def decide_sender(settings: Settings, client: Client, sender: Address) -> Refuse | None:
    """Why ``sender`` is refused, if it is."""
    if settings.logins.constrain_sender and _is_foreign(client.user, sender):
        why = f"constrain_sender: {client.user} may not send from {sender.host}"
        return Refuse(answers.FOREIGN_SENDER, why)
    routes = settings.routes
    if routes.check_sender and not client.relaying and _has_section(routes, sender):
        why = f"check_sender: {sender.host} has a section, and the client does not relay"
        return Refuse(answers.SPOOFED_SENDER, why)
    return None


def decide(
    settings: Settings,
    client: Client,
    sender: Address,
    recipient: Address,
    taken: Way | None = None,
) -> Accept | Refuse:
    """Whether and where one recipient goes.

    :param taken: the way of the transaction so far, as the last ``Accept`` says it: one transaction
        has one way, or is split.
    """
    relaying = client.relaying
    if not relaying and not ROUTING_CHARACTERS.isdisjoint(recipient.local):
        return Refuse(answers.NO_SOURCE_ROUTES, "routing characters in the local part")
    why = _acceptable(settings, client, recipient)
    if why is None:
        return Refuse(answers.NO_RELAYING, _not_acceptable(settings, recipient))
    route, chosen = select(settings.routes, sender, recipient)
    way = way_of(route, relaying)
    reasons: tuple[str, ...] = (why, chosen, _why_delivery(route, relaying))
    if taken is None:
        taken = way
    elif way != taken:
        # RFC 5321 4.5.3.1.10: the sender brings what got 452 in a further transaction.
        if settings.routes.split_routes == "defer" or not relaying:
            return Refuse(answers.OTHER_ROUTE, f"the way of {chosen} differs from the first one's")
        taken, reasons = SPLIT, (*reasons, "split_routes=queue: several ways in one transaction")
    elif way.alone:
        return Refuse(answers.ONE_RECIPIENT, "one_message_per_rcpt: one recipient a transaction")
    if taken.next_hop is None and settings.outbound is None:
        why = "; ".join(reasons)
        return Refuse(answers.NO_QUEUE, f"{why}: there is no outbound queue", fault=True)
    return Accept(route, way, reasons, taken)


def way_of(route: Route, relaying: bool) -> Way:
    """The way of ``route``'s messages, from a client that relays or does not."""
    delivery = choose_delivery(relaying, route.queue, route.enable_outbound)
    if delivery is Delivery.OUTBOUND:
        return Way(delivery, None, route.one_message_per_rcpt)
    return Way(delivery, route.next_hop, route.one_message_per_rcpt, route.partial_rejection)


def choose_delivery(relaying: bool, queue: str | None, enable_outbound: bool) -> Delivery:
    """Forwarding or the outbound queue: ``queue`` says it, else the other two."""
    return _BY_NAME[queue] if queue else _CHOICE[relaying, enable_outbound]


def _why_delivery(route: Route, relaying: bool) -> str:
    if route.queue:
        return f"queue={route.queue}"
    if not relaying:
        return "forwarded: the client does not relay"
    return f"enable_outbound={'true' if route.enable_outbound else 'false'}"


def select(routes: Routes, sender: Address, recipient: Address) -> tuple[Route, str]:
    """The route that the selector picks, and its name in words.

    ``<postmaster>`` is this gateway's own, whoever writes to it.
    """
    if not recipient.domain:
        keys: tuple[str, ...] = ()
    elif routes.domain_selector == "rcpt_to":
        keys = (recipient.host,)
    else:
        keys = (sender.mailbox, sender.host) if sender.domain else ()
    for key in keys:
        route = routes.sections.get(key)
        if route is not None:
            return route, f"section [{route.section}] of smtp_forward.ini"
    return routes.default, "the default route of smtp_forward.ini"


def _is_foreign(user: str, sender: Address) -> bool:
    """Whether the domain in the user's name, if there is one, is not the sender's."""
    own = user.rpartition("@")[2] if "@" in user else ""
    return bool(own and sender.domain) and sender.host != _comparable(own)


@lru_cache(maxsize=1024)
def _comparable(domain: str) -> str:
    """As an address's ``host`` is: lower case, A-labels."""
    try:
        return names.domain(domain)
    except ValueError:
        return domain.lower()


def _has_section(routes: Routes, address: Address) -> bool:
    return bool(address.domain) and address.host in routes.sections


def _acceptable(settings: Settings, client: Client, recipient: Address) -> str | None:
    if client.relaying:
        return f"the client relays: {client.relaying_by}"
    if not recipient.domain:
        return "postmaster is always accepted"
    if recipient.host in settings.access.hosts:
        return f"{recipient.host} is in host_list"
    if is_local(settings.access, recipient.host):
        return f"{recipient.host} matches host_list_regex"
    if settings.routes.check_recipient and _has_section(settings.routes, recipient):
        return f"{recipient.host} has a section in smtp_forward.ini, and check_recipient=true"
    return None


def _not_acceptable(settings: Settings, recipient: Address) -> str:
    checked = " nor a section" if settings.routes.check_recipient else ""
    return f"the client does not relay, and {recipient.host} is not in host_list{checked}"


def is_local(access: Access, domain: str) -> bool:
    """Whether ``host_list`` or ``host_list_regex`` names ``domain`` (lower case)."""
    if domain in access.hosts:
        return True
    return access.host_pattern is not None and access.host_pattern.fullmatch(domain) is not None
