"""``smtpforward route``: what the gateway would do with a transaction, and why; nothing is sent.

The recipients are those of one transaction, in order: a second one may be deferred because of the
first. Limits, and what backends have refused, have no part in it. Exit code 1 when the sender or a
recipient is refused or deferred.
"""

import argparse
import ipaddress
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from smtpforward import answers
from smtpforward.address import Fault, parse_sender, parse_utf8_recipient
from smtpforward.commands import settings as directory
from smtpforward.config import Settings
from smtpforward.config.settings import Outbound
from smtpforward.envelope import Address, Client
from smtpforward.job import Delivery
from smtpforward.routing import Accept, Refuse, Way, decide, decide_sender

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EX_REFUSED = 1


def add_parser(subparsers: "Subparsers") -> None:
    """Offer the subcommand."""
    text = "say where mail would go, and why"
    parser = subparsers.add_parser("route", help=text, description=f"{text.capitalize()}.")
    directory.add_argument(parser)
    parser.add_argument(
        "--from", dest="sender", metavar="ADDRESS", default="", help="default: the null sender"
    )
    parser.add_argument(
        "--client",
        metavar="IP",
        default=None,
        type=_ip,
        help="the client's address; default: a stranger's",
    )
    parser.add_argument("--auth", action="store_true", help="the client has logged in")
    parser.add_argument(
        "--user", metavar="NAME", default="", help="the client has logged in with this name"
    )
    parser.add_argument("recipients", metavar="RCPT", nargs="+", help="recipients, in order")
    parser.set_defaults(run=run)


def _ip(text: str) -> str:
    """``text``, an address: a slip would make a stranger of a client that relays."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no IP address") from None
    return text


def run(arguments: argparse.Namespace) -> int:
    """Print the decisions; the exit code."""
    settings = directory.read(arguments.config)
    authenticated = arguments.auth or bool(arguments.user)
    client = client_at(settings, arguments.client or "", authenticated, arguments.user)
    good = True
    for accepted, line in explain(settings, client, arguments.sender, arguments.recipients):
        print(line.encode("utf-8", "backslashreplace").decode("utf-8"))
        good = good and accepted
    return directory.EX_OK if good else EX_REFUSED


def client_at(settings: Settings, ip: str, authenticated: bool = False, user: str = "") -> Client:
    """The client that connects from ``ip``, and has logged in or not."""
    by = "relay_acl_allow" if ip in settings.access.relays else ""
    return Client(ip, 0, relaying_by="its login" if authenticated else by, user=user)


def explain(
    settings: Settings, client: Client, sender: str, recipients: Sequence[str]
) -> Iterator[tuple[bool, str]]:
    """Whether the sender and each recipient are accepted, and a line that says why."""
    path = parse_sender(b"FROM:<%b> SMTPUTF8" % os.fsencode(sender))
    if isinstance(path, Fault) or len(path.parameters) > 1:
        fault = path if isinstance(path, Fault) else Fault.SYNTAX
        yield False, _refused(sender, Refuse(answers.SENDER_FAULTS[fault], "not an address"))
        return
    refused = decide_sender(settings, client, path.address)
    if refused is not None:
        yield False, _refused(sender, refused)
        return
    taken: Way | None = None
    decisions = []
    for recipient in recipients:
        decision = _decide(settings, client, path.address, recipient, taken)
        decisions.append((recipient, decision))
        if isinstance(decision, Accept):
            taken = decision.taken
    # A further recipient may turn the whole transaction to the queue.
    outbound = settings.outbound if taken and taken.next_hop is None else None
    for recipient, decision in decisions:
        if isinstance(decision, Refuse):
            yield False, _refused(recipient, decision)
        else:
            way = _queued(outbound, decision, recipient) if outbound else str(decision.way)
            yield True, f"<{recipient}>: {way}: {decision.why}"


def _queued(outbound: Outbound, accepted: Accept, recipient: str) -> str:
    """Where a recipient goes that is queued first."""
    route, domain = accepted.route, recipient.rpartition("@")[2] if "@" in recipient else ""
    own_host = route.section and route.own_host
    if accepted.way.delivery is Delivery.SMTP_FORWARD or own_host or not domain:
        there = f"to {route.next_hop}"
    elif outbound.smart_host:
        there = f"to the smart host {outbound.smart_host}"
    else:
        there = f"to the MX hosts of {domain}"
    return f"to the outbound queue, from there {there}"


def _decide(
    settings: Settings, client: Client, sender: Address, recipient: str, taken: Way | None
) -> Accept | Refuse:
    path = parse_utf8_recipient(b"TO:<%b>" % os.fsencode(recipient))
    if isinstance(path, Fault) or path.parameters:
        fault = path if isinstance(path, Fault) else Fault.SYNTAX
        return Refuse(answers.RECIPIENT_FAULTS[fault], "not an address")
    return decide(settings, client, sender, path.address, taken)


def _refused(address: str, refused: Refuse) -> str:
    return f"<{address}>: {refused.reply.text}: {refused.why}"
