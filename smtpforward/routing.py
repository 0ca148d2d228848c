"""Pure decisions: may this recipient be accepted, and on which route does it travel?

Nothing here waits or reads a file. A decision says why, in words that name file and rule, so that
an operator can ask for it without sending mail.
"""

from attrs import frozen

from smtpforward import answers
from smtpforward.config.settings import Access, Route, Routes, Settings
from smtpforward.envelope import Address, Client
from smtpforward.job import NextHop
from smtpforward.reply import Reply

ROUTING_CHARACTERS = frozenset(b"@%!|")


@frozen(slots=True)
class Accept:
    """The recipient travels on ``route``."""

    route: Route
    why: str


@frozen(slots=True)
class Refuse:
    """The recipient gets ``reply``: 4yz when it may come again, 5yz when not."""

    reply: Reply
    why: str


def decide(
    settings: Settings, client: Client, recipient: Address, taken: NextHop | None = None
) -> Accept | Refuse:
    """Whether and where one recipient goes.

    :param taken: the next hop of the transaction's first recipient; one transaction has one.
    """
    if not client.relaying and not ROUTING_CHARACTERS.isdisjoint(recipient.local):
        return Refuse(answers.NO_SOURCE_ROUTES, "routing characters in the local part")
    why = _acceptable(settings, client, recipient)
    if why is None:
        return Refuse(
            answers.NO_RELAYING, "the domain is not in host_list, the client not relaying"
        )
    route = select(settings.routes, recipient)
    if taken is not None and route.next_hop != taken:
        # RFC 5321 4.5.3.1.10: the sender brings what got 452 in a further transaction.
        return Refuse(answers.OTHER_ROUTE, f"route {route.section or 'default'} differs")
    return Accept(route, why)


def select(routes: Routes, recipient: Address) -> Route:
    """The section of the recipient's domain, or the default route."""
    return routes.sections.get(recipient.host, routes.default)


def _acceptable(settings: Settings, client: Client, recipient: Address) -> str | None:
    if client.relaying:
        return "the client relays: relay_acl_allow"
    if not recipient.domain:
        return "postmaster is always accepted"
    if is_local(settings.access, recipient.host):
        return "the domain is in host_list"
    if settings.routes.check_recipient and recipient.host in settings.routes.sections:
        return "the domain has a section, and check_recipient=true"
    return None


def is_local(access: Access, domain: str) -> bool:
    """Whether ``host_list`` or ``host_list_regex`` names ``domain`` (lower case)."""
    if domain in access.hosts:
        return True
    return access.host_pattern is not None and access.host_pattern.fullmatch(domain) is not None
