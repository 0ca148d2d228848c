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

from attrs import asdict, frozen

from smtpforward import answers
from smtpforward.address import Fault, parse_sender, parse_utf8_recipient
from smtpforward.commands import settings as directory
from smtpforward.config import Settings
from smtpforward.envelope import NULL_SENDER, Address, Client
from smtpforward.outbound.places import Direct, place
from smtpforward.routing import Accept, Refuse, Way, decide, decide_sender

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EX_REFUSED = 1


@frozen
class Fate:
    """What becomes of an address.

    :ivar outcome: where its mail goes, or the reply that refuses it. ``why``: in words.
    """

    address: str
    accepted: bool
    outcome: str
    why: str

    def __str__(self) -> str:
        return f"<{self.address}>: {self.outcome}: {self.why}"


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
    directory.add_json(parser)
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
    settings = directory.read(arguments.config, arguments.json)
    authenticated = arguments.auth or bool(arguments.user)
    client = client_at(settings, arguments.client or "", authenticated, arguments.user)
    fates = list(explain(settings, client, arguments.sender, arguments.recipients))
    if arguments.json:
        directory.print_json([asdict(fate) for fate in fates])
    else:
        for fate in fates:
            print(str(fate).encode("utf-8", "backslashreplace").decode("utf-8"))
    return directory.EX_OK if all(fate.accepted for fate in fates) else EX_REFUSED


def client_at(settings: Settings, ip: str, authenticated: bool = False, user: str = "") -> Client:
    """The client that connects from ``ip``, and has logged in or not."""
    by = "relay_acl_allow" if ip in settings.access.relays else ""
    return Client(ip, 0, relaying_by="its login" if authenticated else by, user=user)


def explain(
    settings: Settings, client: Client, sender: str, recipients: Sequence[str]
) -> Iterator[Fate]:
    """What becomes of the sender, where it is refused, or else of each recipient."""
    path = parse_sender(b"FROM:<%b> SMTPUTF8" % os.fsencode(sender))
    if isinstance(path, Fault) or len(path.parameters) > 1:
        fault = path if isinstance(path, Fault) else Fault.SYNTAX
        yield _refused(sender, Refuse(answers.SENDER_FAULTS[fault], "not an address"))
        return
    refused = decide_sender(settings, client, path.address)
    if refused is not None:
        yield _refused(sender, refused)
        return
    decided = list(_decided(settings, client, path.address, recipients))
    # A further recipient may have turned the whole transaction to the queue.
    queued = any(isinstance(one, Accept) and one.taken.next_hop is None for _, _, one in decided)
    for recipient, address, decision in decided:
        if isinstance(decision, Refuse):
            yield _refused(recipient, decision)
        else:
            way = str(decision.way)
            if queued:
                way = _queued(settings, path.address, address, decision)
            yield Fate(recipient, True, way, decision.why)


def _decided(
    settings: Settings, client: Client, sender: Address, recipients: Sequence[str]
) -> Iterator[tuple[str, Address, Accept | Refuse]]:
    """Each recipient as it is given, as an address (one of nobody where it is none), its fate."""
    taken: Way | None = None
    for recipient in recipients:
        path = parse_utf8_recipient(b"TO:<%b>" % os.fsencode(recipient))
        if isinstance(path, Fault) or path.parameters:
            fault = path if isinstance(path, Fault) else Fault.SYNTAX
            refused = Refuse(answers.RECIPIENT_FAULTS[fault], "not an address")
            yield recipient, NULL_SENDER, refused
            continue
        decision = decide(settings, client, sender, path.address, taken)
        if isinstance(decision, Accept):
            taken = decision.taken
        yield recipient, path.address, decision


def _queued(settings: Settings, sender: Address, recipient: Address, accepted: Accept) -> str:
    """Where a recipient goes that is queued first."""
    there = place(settings, sender, recipient, accepted.way.delivery)
    outbound = settings.outbound
    if isinstance(there, Direct):
        words = f"the MX hosts of {there}"
    else:
        smart = outbound is not None and there is outbound.smart_host
        words = f"the smart host {there}" if smart else str(there)
    return f"to the outbound queue, from there to {words}"


def _refused(address: str, refused: Refuse) -> Fate:
    return Fate(address, False, refused.reply.text, refused.why)
