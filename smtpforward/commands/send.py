"""``smtpforward send``: one test message along a route, with the dialogue shown.

The same code hands it over that does so in the gateway, with the same settings: hosts in order, TLS
policy, login. It goes to the backend itself; with ``--server`` to a gateway, or to anybody, as from
a client. Passwords are blanked, the message is told in octets. Exit code 0 where it was taken, 75
where it was deferred, 69 where it was refused.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from smtpforward import answers
from smtpforward.address import Fault, parse_sender, parse_utf8_recipient
from smtpforward.client.connect import BackendFactory, Connector, Purpose
from smtpforward.client.opening import Security
from smtpforward.client.shown import ShownSession
from smtpforward.client.target import ForwardTarget
from smtpforward.commands import settings as directory
from smtpforward.commands.probe import find
from smtpforward.commands.queue.arguments import number
from smtpforward.commands.queue.command import in_reactor
from smtpforward.commands.queue.output import Output, standard
from smtpforward.config import Settings
from smtpforward.config.checks_net import member
from smtpforward.config.files import read_secret
from smtpforward.config.values import WrongValueError
from smtpforward.content import Content
from smtpforward.envelope import Address, Client, Envelope, Recipient
from smtpforward.job import TLS, Credentials, Job, NextHop, Outcome, Server
from smtpforward.net.clock import make_monotonic
from smtpforward.net.tls import ClientContexts
from smtpforward.outbound import as_json
from smtpforward.outbound.wording import date
from smtpforward.record import new_id, printable
from smtpforward.reply import Reply

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EX_DATAERR = 65
EX_NOINPUT = 66
EX_UNAVAILABLE = 69
EX_TEMPFAIL = 75
CODES = {"sent": directory.EX_OK, "deferred": EX_TEMPFAIL, "bounced": EX_UNAVAILABLE}
STATUS = {2: "sent", 5: "bounced"}
HOST = "HOST or HOST:PORT, IPv6 in brackets"
QUIT_TIME = 5.0
LINE = b"This is a test message, sent by smtpforward send. It needs no answer.\r\n"


class UnfitError(Exception):
    """What was asked for cannot be done. ``code``: the exit code."""

    def __init__(self, text: str, code: int = EX_DATAERR) -> None:
        super().__init__(text)
        self.code = code


@frozen
class Test:
    """What is sent, and where to.

    :ivar route: in words. ``own_name``: this host's, where a server that greets with it is a loop.
    """

    id: str
    route: str
    next_hop: NextHop
    envelope: Envelope
    message: bytes = field(repr=False)
    own_name: str | None = None
    partial: str = "learn"


class TalkingConnector(Connector):
    """One whose connections show what is said on them."""

    session: type[ShownSession]

    def _factory(self, server: Server, purpose: Purpose, security: Security) -> BackendFactory:
        factory = Connector._factory(self, server, purpose, security)
        factory.protocol = self.session
        return factory


def add_parser(subparsers: "Subparsers") -> None:
    """Offer the subcommand."""
    text = "send a test message, and show the dialogue"
    parser = subparsers.add_parser("send", help=text, description=f"{text.capitalize()}.")
    directory.add_argument(parser)
    parser.add_argument(
        "--to", metavar="ADDRESS", action="append", required=True, help="may be repeated"
    )
    parser.add_argument(
        "--from", dest="sender", metavar="ADDRESS", default="", help="default: the null sender"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--route",
        metavar="ROUTE",
        help="a section of smtp_forward.ini, or default; default: what the addresses lead to",
    )
    where.add_argument(
        "--server", metavar="HOST:PORT", type=_host, help="this one, as any client would; no route"
    )
    parser.add_argument(
        "--to-host", metavar="HOST:PORT", type=_host, help="in place of the route's own; no login"
    )
    parser.add_argument(
        "--tls", choices=[policy.value for policy in TLS], help="of --server; default: true"
    )
    parser.add_argument("--user", metavar="NAME", help="log in at --server with this name")
    parser.add_argument("--password-file", metavar="FILE", help="and the password in this file")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--size", metavar="BYTES", type=_size, help="of the message")
    what.add_argument("--data", metavar="FILE", help="the message itself; - is standard input")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(run=run, parser=parser)


def _host(text: str) -> tuple[str, int | None]:
    try:
        return member(text, HOST)
    except WrongValueError as error:
        raise argparse.ArgumentTypeError(f"{error.message}; {error.remedy}") from None


def _size(text: str) -> int:
    try:
        return number(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(arguments: argparse.Namespace) -> int:
    """Send it; the exit code."""
    _check(arguments)
    settings = directory.read(arguments.config)
    output = standard()
    try:
        test = asked_for(arguments, settings)
    except UnfitError as error:
        output.remark(str(error))
        return error.code
    return in_reactor(lambda reactor: send(reactor, settings, test, arguments.json, output))


def _check(arguments: argparse.Namespace) -> None:
    if arguments.server is None:
        if arguments.tls or arguments.user or arguments.password_file:
            arguments.parser.error("--tls, --user and --password-file are for --server")
    elif arguments.to_host is not None:
        arguments.parser.error("--to-host is for a route: --server says where to")
    if bool(arguments.user) != bool(arguments.password_file):
        arguments.parser.error("--user and --password-file go together")


# -- what is sent


def asked_for(arguments: argparse.Namespace, settings: Settings) -> Test:
    """The message and its way.

    :raise UnfitError: for what is no address or no message, and where there is no such way.
    """
    id = new_id()
    sender, recipients = _addresses(arguments.sender, arguments.to)
    message = _message(arguments, settings.me, id)
    envelope = Envelope(
        sender, tuple(map(Recipient, recipients)), _parameters(message, sender, *recipients)
    )
    if arguments.server is not None:
        next_hop = NextHop((_server(arguments, settings),))
        return Test(id, "none", next_hop, envelope, message)
    route = _route(arguments, settings, sender, recipients)
    next_hop = route.next_hop
    if arguments.to_host is not None:
        host, port = arguments.to_host
        first = next_hop.servers[0]
        server = evolve(first, host=host, port=port or first.port, credentials=None)
        next_hop = evolve(next_hop, servers=(server,))
    name = route.section or "default"
    own_name, partial = settings.own_name, route.partial_rejection
    return Test(id, name, next_hop, envelope, message, own_name, partial)


def _addresses(sender: str, recipients: Sequence[str]) -> tuple[Address, list[Address]]:
    paths = [(sender, parse_sender(b"FROM:<%b> SMTPUTF8" % os.fsencode(sender)))]
    paths += [(one, parse_utf8_recipient(b"TO:<%b>" % os.fsencode(one))) for one in recipients]
    found = []
    for text, path in paths:
        if isinstance(path, Fault) or set(path.parameters) - {b"SMTPUTF8"}:
            raise UnfitError(f"{text!a} is no address")
        found.append(path.address)
    return found[0], found[1:]


def _route(
    arguments: argparse.Namespace, settings: Settings, sender: Address, recipients: list[Address]
) -> Any:
    """That of the addresses, or the one that is named; all recipients have the same."""
    if arguments.route is not None:
        route = find(settings, arguments.route)
        if not route.section and arguments.route not in ("", "default"):
            raise UnfitError(f"there is no section {arguments.route}", directory.EX_CONFIG)
        return route
    by_sender = settings.routes.domain_selector == "mail_from"
    routes = [find(settings, str(one)) for one in ([sender] if by_sender else recipients)]
    if any(route.next_hop != routes[0].next_hop for route in routes):
        raise UnfitError("the recipients have several routes: one message has one; see route")
    return routes[0]


def _server(arguments: argparse.Namespace, settings: Settings) -> Server:
    policy = TLS(arguments.tls or TLS.OFFERED.value)
    host, port = arguments.server
    credentials = None
    if arguments.user:
        try:
            password = read_secret(arguments.password_file, "the password alone")
        except WrongValueError as error:
            raise UnfitError(f"{error.message}; {error.remedy}", EX_NOINPUT) from None
        credentials = Credentials("PLAIN", arguments.user, password)
    port = port or (465 if policy is TLS.IMPLICIT else 25)
    return Server(host, port, settings.me, tls=policy, credentials=credentials)


def _message(arguments: argparse.Namespace, me: str, id: str) -> bytes:
    """The data with CRLF as its line end."""
    if arguments.data is not None:
        return _read(arguments.data)
    fields = {
        "From": f"<{arguments.sender or f'postmaster@{me}'}>",
        "To": ", ".join(f"<{one}>" for one in arguments.to),
        "Subject": f"test {id}",
        "Date": date(time.time()),
        "Message-ID": f"<{id}@{me}>",
    }
    header = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    head = os.fsencode(f"{header}\r\n")
    if arguments.size is None:
        return head + LINE
    return _filled(head, arguments.size)


def _filled(head: bytes, size: int) -> bytes:
    """``head`` with lines behind it, ``size`` octets in all; no less than ``head``."""
    lines = max(0, size - len(head)) // len(LINE) + 1
    message = (head + LINE * lines)[: max(len(head), size - len(b"\r\n"))]
    if message.endswith(b"\r"):
        message = message[:-1] + b"."
    return message + b"\r\n"


def _read(name: str) -> bytes:
    try:
        if name == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(name, "rb") as file:
                data = file.read()
    except OSError as error:
        raise UnfitError(f"{name}: {error.strerror}", EX_NOINPUT) from None
    data = data.replace(b"\r\n", b"\n")
    if b"\r" in data:
        raise UnfitError(f"{name}: holds a bare CR: no server should take that")
    return data.replace(b"\n", b"\r\n")


def _parameters(message: bytes, *addresses: Address) -> dict[bytes, bytes]:
    given = {} if message.isascii() else {b"BODY": b"8BITMIME"}
    if not all(address.path.isascii() for address in addresses):
        given[b"SMTPUTF8"] = b""
    return given


# -- the hand-over


async def send(
    reactor: Any, settings: Settings, test: Test, as_document: bool, output: Output
) -> int:
    """Hand it over, and say what came of it; the exit code."""
    make_monotonic(reactor)
    dialogue: list[dict[str, str]] = []

    def say(session: ShownSession, who: str, text: str) -> None:
        if as_document:
            dialogue.append({"with": session.peer_name, "who": who, "said": text})
        else:
            output.say([f"{session.peer_name} {text}" if who == "-" else f"{who}: {text}"])

    connector = TalkingConnector(reactor, test.own_name, ClientContexts(settings.client_tls))
    connector.session = type("TalkingSession", (ShownSession,), {"say": say})
    target = ForwardTarget(connector, reactor)
    began = reactor.seconds()
    outcomes = await target.deliver(_job(test, began))
    took = reactor.seconds() - began
    await _ended(target, reactor)
    reply = answers.to_message(outcomes, test.id, test.partial)
    status = STATUS.get(reply.code // 100, "deferred")
    if as_document:
        output.say([as_json.dumped(_document(test, outcomes, reply, status, took, dialogue))])
    else:
        output.say(_lines(test, outcomes, reply, status, took))
    return CODES[status]


def _job(test: Test, now: float) -> Job:
    client = Client("local", 0)
    content = Content.from_plain(test.message)
    deadline = now + test.next_hop.timeouts.forward
    return Job(test.id, client, test.envelope, content, test.next_hop, deadline)


async def _ended(target: ForwardTarget, reactor: Any) -> None:
    """Say good-bye; who does not answer is left."""
    ending: Deferred[None] = target.end()
    try:
        await ending.addTimeout(QUIT_TIME, reactor)
    except DeferredTimeout:
        target.abort()


def _document(
    test: Test,
    outcomes: Sequence[Outcome],
    reply: Reply,
    status: str,
    took: float,
    dialogue: list[dict[str, str]],
) -> dict[str, Any]:
    return {
        "id": test.id,
        "route": test.route,
        "status": status,
        "reply": reply.text,
        "relay": outcomes[0].peer or None,
        "took": round(took, 3),
        "recipients": [
            {
                "address": str(one.recipient.address),
                "event": one.event.name.lower(),
                "reply": one.reply.text if one.reply else None,
                "detail": one.detail or None,
            }
            for one in outcomes
        ],
        "dialogue": dialogue,
    }


def _lines(
    test: Test, outcomes: Sequence[Outcome], reply: Reply, status: str, took: float
) -> list[str]:
    told = [f"route: {test.route}"] if test.route != "none" else []
    for one in outcomes:
        said = one.reply.text if one.reply else one.detail
        why = f" ({printable(said)})" if said else ""
        address = printable(str(one.recipient.address))
        told.append(f"<{address}>: {one.event.value}{why}")
    return [*told, f"result: {status} in {took:.3f} s: {printable(reply.text)}"]
