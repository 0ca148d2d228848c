"""``smtpforward probe``: connect to a backend as the gateway would, say what it shows, and leave.

No mail is sent. The same code opens the connection that opens it in the gateway, with the same
settings: TLS policy, certificates, login. Exit code 69 when a server would not be used.
"""

import argparse
import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from smtpforward.client.connect import BackendFactory, Connector, Purpose
from smtpforward.client.errors import ConnectFailed
from smtpforward.client.opening import Security
from smtpforward.client.session import BackendSession
from smtpforward.commands import settings as directory
from smtpforward.config import Settings
from smtpforward.config.names import domain
from smtpforward.config.settings import Route
from smtpforward.job import NextHop, Server
from smtpforward.net.clock import make_monotonic
from smtpforward.net.tls import ClientContexts, ConnectionCreator, WrongCertificate

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

EX_UNAVAILABLE = 69


@frozen
class Look:
    """What the connection is for.

    :ivar started: on the reactor's clock.
    """

    next_hop: NextHop
    started: float

    @property
    def deadline(self) -> float:
        """As a job's."""
        return self.started + self.next_hop.timeouts.forward


@frozen
class Seen:
    """What came of one server.

    :ivar attempts: one for each connection; the last one counts. ``failed``: why it will not do.
    """

    server: Server
    started: float
    attempts: list[BackendFactory] = field(factory=list)
    failed: list[ConnectFailed] = field(factory=list)

    @property
    def sessions(self) -> list[BackendSession]:
        """The connections that were made."""
        return [attempt.session for attempt in self.attempts if attempt.session is not None]


class WatchedConnector(Connector):
    """One that shows its connections, those that fail as well."""

    seen: Seen

    def _factory(self, server: Server, purpose: Purpose, security: Security) -> BackendFactory:
        factory = Connector._factory(self, server, purpose, security)
        self.seen.attempts.append(factory)
        return factory


class Closed:
    """Owner of a connection that is to be closed.

    :ivar done: fires when it is.
    """

    def __init__(self) -> None:
        self.done: Deferred[None] = Deferred()

    def idle(self, connection: BackendSession) -> None:
        """It carries nothing."""

    def closing(self, connection: BackendSession) -> None:
        """QUIT is out."""

    def gone(self, connection: BackendSession) -> None:
        """It is closed."""
        self.done.callback(None)


def add_parser(subparsers: "Subparsers") -> None:
    """Offer the subcommand."""
    text = "connect to a backend and say what it shows"
    parser = subparsers.add_parser(
        "probe", help=text, description=f"{text.capitalize()}. No mail is sent."
    )
    directory.add_argument(parser)
    directory.add_json(parser)
    parser.add_argument(
        "route",
        metavar="ROUTE",
        nargs="?",
        default="",
        help="a section of smtp_forward.ini, or a domain; default: the default route",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Probe each server of the route; the exit code."""
    settings = directory.read(arguments.config, arguments.json)
    results: list[bool] = []

    def begin(reactor: Any) -> "Deferred[None]":
        make_monotonic(reactor)
        probing = Deferred.fromCoroutine(probe(reactor, settings, arguments.route, arguments.json))
        return probing.addCallback(results.append)

    try:
        react(begin)
    except SystemExit as end:
        if end.code:
            raise
    return directory.EX_OK if all(results) else EX_UNAVAILABLE


async def probe(reactor: Any, settings: Settings, name: str, as_json: bool = False) -> bool:
    """Print what each server of the route for ``name`` shows; whether all would be used."""
    route = find(settings, name)
    called = route.section or "default"
    if not as_json:
        print(f"route: {called}")
    good, servers = True, []
    for server in route.next_hop.servers:
        seen = await look_at(reactor, settings, server, route.next_hop)
        if as_json:
            servers.append(document(seen))
        else:
            print("\n".join(report(seen)))
        good = good and not seen.failed
    if as_json:
        directory.print_json({"route": called, "servers": servers})
    return good


def document(seen: Seen) -> dict[str, object]:
    """What is to be said of one server, for programs."""
    connections = [dict(_of_session(session, seen)) for session in seen.sessions]
    failed = [{"event": error.event.value, "detail": error.detail} for error in seen.failed]
    return {
        "server": str(seen.server),
        "enable_tls": seen.server.tls.value,
        "connections": connections,
        "ready": not failed,
        "failed": failed,
    }


def find(settings: Settings, name: str) -> Route:
    """The route of a section's name or of a domain; the default one where none fits."""
    sections = settings.routes.sections
    local, at, host = name.rpartition("@")
    with contextlib.suppress(ValueError):
        host = domain(host)
    for key in (f"{local}{at}{host}".lower(), host):
        if key in sections:
            return sections[key]
    return settings.routes.default


async def look_at(reactor: Any, settings: Settings, server: Server, next_hop: NextHop) -> Seen:
    """Connect, say QUIT, and wait until it is closed."""
    contexts = ClientContexts(settings.client_tls)
    connector = WatchedConnector(reactor, settings.own_name, contexts)
    connector.seen = seen = Seen(server, reactor.seconds())
    try:
        session = await connector.connect(server, Look(next_hop, seen.started))
    except ConnectFailed as error:
        seen.failed.append(error)
        return seen
    closed = Closed()
    session.owner = closed
    session.quit()
    await closed.done
    return seen


def report(seen: Seen) -> Iterator[str]:
    """The lines about one server."""
    yield f"server: {seen.server} (enable_tls={seen.server.tls.value})"
    before: BackendSession | None = None
    for session in seen.sessions:
        if before is not None:
            in_the_clear = before.security.creator and not session.security.creator
            yield "  TLS failed: once more in the clear" if in_the_clear else "  the next address"
        yield from (f"  {what}: {words}" for what, words in _of_session(session, seen))
        before = session
    for error in seen.failed:
        yield f"  result: FAILED, {error.event.value}: {error.detail}"
    if not seen.failed:
        yield "  result: ready for mail"


def _of_session(session: BackendSession, seen: Seen) -> Iterator[tuple[str, str]]:
    times = ", ".join(f"{step} {1000 * (at - seen.started):.0f} ms" for step, at in session.steps)
    yield "connected", session.peer_name
    if session.greeting is not None:
        yield "greeting", session.greeting.text
    offers = [b" ".join(filter(None, pair)) for pair in session.extensions.items()]
    if offers:
        yield "extensions", b", ".join(offers).decode("utf-8", "backslashreplace")
    yield "TLS", _tls(session)
    if session.security.creator is not None:
        yield from _certificate(session.security.creator)
    yield "login", _login(session)
    yield "times", times


def _tls(session: BackendSession) -> str:
    steps = [step for step, _ in session.steps]
    creator = session.security.creator
    if creator is not None and "TLS" in steps:
        return creator.version
    return "no"


def _certificate(creator: ConnectionCreator) -> Iterator[tuple[str, str]]:
    shown = creator.certificate
    if shown is None:
        if creator.problem:
            yield "certificate", creator.problem
        return
    certificate = shown.to_cryptography()
    problems = [creator.problem] if creator.problem else []
    try:
        creator.match_host()
    except WrongCertificate as error:
        problems.append(str(error))
    yield "certificate", ", ".join(_names(certificate)) or "no names"
    yield "issuer", certificate.issuer.rfc4514_string()
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    yield "valid until", f"{certificate.not_valid_after_utc:%Y-%m-%d} ({left.days} days)"
    yield "verification", "; ".join(problems) or "good"


def _names(certificate: x509.Certificate) -> Iterator[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return
    for name in extension.value:
        yield str(name.value)


def _login(session: BackendSession) -> str:
    credentials = session.security.credentials
    if credentials is None:
        return "none is configured"
    done = any(step == "AUTH" for step, _ in session.steps)
    return f"{credentials.mechanism}, {'accepted' if done else 'not done'}"
