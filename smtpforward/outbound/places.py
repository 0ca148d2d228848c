"""Where a queued recipient goes: asked for each attempt, so that the settings of that moment hold.

Chosen ``smtp_forward``: to its route's host. Chosen ``outbound``: to its section's own host, if it
sets one; to its route's host as well where the domain is one of ours (its MX host is most likely
this gateway), unless its own section has ``enable_outbound=false``; else to the smart host; else to
the domain's MX hosts.
"""

from attrs import frozen

from smtpforward import routing
from smtpforward.config.settings import Settings
from smtpforward.envelope import Address
from smtpforward.job import Delivery, NextHop


@frozen(slots=True)
class Direct:
    """To the MX hosts of ``domain`` (lower case, A-labels, or an address literal)."""

    domain: str

    def __str__(self) -> str:
        return self.domain


Place = Direct | NextHop


def place(settings: Settings, sender: Address, recipient: Address, delivery: Delivery) -> Place:
    """Where ``recipient`` goes by ``settings``."""
    route, _ = routing.select(settings.routes, sender, recipient)
    if delivery is Delivery.SMTP_FORWARD or (route.section and route.own_host):
        return route.next_hop
    if not recipient.domain:
        return route.next_hop
    asked = route.own_outbound and not route.queue and not route.enable_outbound
    if not (asked and settings.routes.domain_selector == "rcpt_to") and routing.is_local(
        settings.access, recipient.host
    ):
        return route.next_hop
    outbound = settings.outbound
    if outbound is not None and outbound.smart_host is not None:
        return outbound.smart_host
    return Direct(recipient.host)


def of_notice(settings: Settings, sender: Address) -> Delivery:
    """Which way a bounce to ``sender`` is chosen: forwarded where its domain is one of ours."""
    ours = routing.is_local(settings.access, sender.host) or sender.host in settings.routes.sections
    return Delivery.SMTP_FORWARD if ours else Delivery.OUTBOUND
