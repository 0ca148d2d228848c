"""The settings as values: built once from the files, frozen, passed down."""

import re
from collections.abc import Iterator, Mapping
from typing import Literal

from attrs import field, frozen

from smtpforward.config.networks import Networks
from smtpforward.config.stamps import Stamps
from smtpforward.job import TLS, NextHop, Server


@frozen
class Limits:
    """What one client, and all of them together, may take (each key: ``docs/settings.md``).

    :ivar bytes: of one message. ``spool_after``: bytes of it that stay in memory.
    :ivar line_length: of a command, without what extensions add.
    :ivar errors: wrong commands before 421; ``unrecognized_commands`` before 521.
    :ivar max_received: ``Received`` lines of a message that has not been looping.
    :ivar header_bytes: of a message's header.
    :ivar connections: of all clients at once; ``None``: what the descriptors allow.
    :ivar connections_per_ip: of clients from one address that do not relay; ``None``: any number.
    :ivar errors_per_ip: wrong commands of those in ten minutes; ``None``: any number.
    :ivar memory: bytes of all messages that are in memory at once.
    """

    bytes: int = 26214400
    spool_after: int = 1048576
    line_length: int = 512
    recipients: int = 1000
    errors: int = 20
    unrecognized_commands: int = 10
    max_received: int = 100
    header_bytes: int = 1048576
    connections: int | None = None
    connections_per_ip: int | None = None
    errors_per_ip: int | None = None
    memory: int = 268435456


@frozen
class ClientTimeouts:
    """``[timeouts]``: seconds of a client's silence; ``None`` as ``inactivity_timeout`` says.

    :ivar first_command: from the connection to the end of the first command; a TLS handshake that
        comes first is part of it.
    :ivar command: from our answer to the end of the next command.
    :ivar data: between two blocks of a message's data.
    """

    first_command: float | None = None
    command: float | None = None
    data: float | None = None


@frozen(slots=True)
class Route:
    """What ``smtp_forward.ini`` says for one section.

    :ivar section: its name as written, or ``""`` for the top level.
    :ivar next_hop: where its messages go; part of the route's identity, as the section is not.
    :ivar queue: which way its messages go, where the section says it.
    :ivar enable_outbound: whether mail of clients that relay is forwarded, as all other mail is.
    :ivar partial_rejection: what a transaction gets of which the backend refuses some recipients.
    :ivar own_host: whether the section itself names its backends. ``own_outbound``: whether it says
        ``enable_outbound`` itself; never true of the top level.
    """

    section: str
    next_hop: NextHop
    partial_rejection: Literal["learn", "reject"] = "learn"
    queue: Literal["smtp_forward", "outbound"] | None = None
    enable_outbound: bool = True
    one_message_per_rcpt: bool = False
    own_host: bool = False
    own_outbound: bool = False

    @property
    def queues(self) -> bool:
        """Whether mail of some clients goes to the outbound queue."""
        return self.queue == "outbound" if self.queue else not self.enable_outbound


@frozen
class Routes:
    """All of ``smtp_forward.ini``.

    :ivar sections: by domain, lower case, A-labels; by whole address, lower case, where the
        selector is the sender.
    :ivar check_recipient: whether a section makes its domain acceptable.
    :ivar check_sender: whether only who relays may send from a section's domain.
    :ivar split_routes: what becomes of a transaction of who relays with more than one way: a
        recipient that differs from the first is deferred, or all of it is queued.
    """

    default: Route
    sections: Mapping[str, Route] = field(factory=dict)
    check_recipient: bool = False
    check_sender: bool = False
    domain_selector: Literal["rcpt_to", "mail_from"] = "rcpt_to"
    split_routes: Literal["defer", "queue"] = "defer"

    def all(self) -> Iterator[Route]:
        """The default route and those of the sections."""
        yield self.default
        yield from self.sections.values()

    def next_hops(self) -> Iterator[NextHop]:
        """Those of all routes; many routes that share one have it once."""
        return iter({id(route.next_hop): route.next_hop for route in self.all()}.values())

    @property
    def queues(self) -> bool:
        """Whether any mail goes to the outbound queue."""
        return self.split_routes == "queue" or any(route.queues for route in self.all())


@frozen
class Access:
    """Whose mail is accepted and who may relay.

    :ivar hosts: the domains of ``host_list``, lower case, A-labels.
    :ivar host_pattern: one expression for all lines of ``host_list_regex``; matches whole names.
    :ivar relays: the networks of ``relay_acl_allow``.
    """

    hosts: frozenset[str] = frozenset()
    host_pattern: re.Pattern[str] | None = None
    relays: Networks = field(factory=Networks)


@frozen
class Certificate:
    """A key with its certificate and the chain above it, as PEM.

    :ivar names: the DNS names that the certificate is for, lower case, wildcards as they stand.
    :ivar path: where it was read, for messages.
    """

    key: bytes = field(repr=False)
    chain: bytes = field(repr=False)
    names: tuple[str, ...] = ()
    path: str = ""


@frozen
class HostSet:
    """Names, addresses and networks of other hosts."""

    names: frozenset[str] = frozenset()
    networks: Networks = field(factory=Networks)

    def __contains__(self, host: object) -> bool:
        """Whether ``host``, a lower-case name or an address, is one of them."""
        return host in self.names or host in self.networks


@frozen
class ServerTLS:
    """``tls.ini`` for the edge.

    :ivar certificates: the first is the default, each is chosen by the name that a client asks for.
    :ivar ciphers: in OpenSSL's words, or ``None`` for its defaults. ``min_version``: ``TLSv1.2``.
    """

    certificates: tuple[Certificate, ...]
    ciphers: str | None = None
    min_version: str = "TLSv1.2"
    no_starttls_ports: frozenset[int] = frozenset()


@frozen
class ClientTLS:
    """``[outbound]`` of ``tls.ini``.

    :ivar certificate: shown to backends. ``ca``: PEM of roots trusted beside the system's.
    :ivar reject_unauthorized: whether TLS that was merely offered is verified too.
    """

    certificate: Certificate | None = None
    ciphers: str | None = None
    min_version: str = "TLSv1.2"
    ca: bytes = field(default=b"", repr=False)
    reject_unauthorized: bool = False
    no_tls_hosts: HostSet = HostSet()
    force_tls_hosts: HostSet = HostSet()


@frozen
class Logins:
    """``auth_flat_file.ini``.

    :ivar methods: of ``PLAIN``, ``LOGIN`` and ``CRAM-MD5``, in the order announced.
    :ivar users: name to secret, plain or an argon2 or scrypt hash.
    :ivar constrain_sender: whether a user sends only from the domain in its own name.
    """

    methods: tuple[str, ...] = ()
    users: Mapping[str, str] = field(factory=dict, repr=False)
    constrain_sender: bool = True


def _direct() -> NextHop:
    return NextHop((Server("", 25, "localhost", tls=TLS.OFFERED),))


@frozen
class Outbound:
    """``outbound.ini``: the outbound queue (each key: ``docs/settings.md``).

    :ivar store: ``sqlite:PATH`` or a ``postgresql://`` address, which may hold a password.
    :ivar disabled: whether mail is queued and nothing is delivered.
    :ivar concurrency_max: attempts at once. ``pool_concurrency_max``: to one destination.
    :ivar lease: seconds after which another gateway on the store takes over what this one has.
    :ivar intervals: seconds from each failed attempt to the next; when they have run out, it is
        the last.
    :ivar delay_notice: seconds after which the sender is told of a delay, if it asked for that.
    :ivar always_split: whether each recipient has a transaction to itself.
    :ivar received_header: text of a further ``Received`` line, or ``None``.
    :ivar local_mx_ok: whether MX hosts may have private addresses.
    :ivar inet_prefer: the kind of address that is tried first.
    :ivar smart_host: where all mail goes in place of MX hosts.
    :ivar direct: for MX hosts: all of their next hop but the servers; one server without a host
        says which port, TLS, ``bind`` and name hold for each.
    :ivar nameservers: address and port of each; empty: those of the system.
    """

    store: str = field(default="sqlite:/var/lib/smtpforward/queue.sqlite3", repr=False)
    disabled: bool = False
    concurrency_max: int = 100
    pool_concurrency_max: int = 10
    lease: float = 300.0
    intervals: tuple[float, ...] = tuple(float(2 ** (n + 5)) for n in range(1, 13))
    delay_notice: float = 14400.0
    always_split: bool = False
    received_header: str | None = None
    local_mx_ok: bool = False
    inet_prefer: Literal["v4", "v6"] = "v4"
    smart_host: NextHop | None = None
    direct: NextHop = field(factory=_direct)
    nameservers: tuple[tuple[str, int], ...] = ()


@frozen
class HTTP:
    """``http.ini``: what is shown of the gateway.

    :ivar listen: Twisted endpoint descriptions.
    :ivar user: who may see it, with ``password``, or its hash; empty: everybody.
    :ivar queue_changes: whether who may see it may change the outbound queue.
    """

    listen: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    queue_changes: bool = False


@frozen
class DebugSession:
    """Whose dialogues stand in the log.

    :ivar clients: their addresses. ``routes``: sections, ``""`` for the default route.
    """

    clients: Networks = field(factory=Networks)
    routes: frozenset[str] = frozenset()


@frozen
class Settings:
    """The whole configuration directory.

    :ivar me: this host's name. ``listen``: Twisted endpoint descriptions.
    :ivar own_name: ``me`` where the file gives it: a backend that greets with it is this gateway.
        The system's name may well be that of another server on this host.
    :ivar nodes: worker processes; 0: one process for everything.
    :ivar log_format: what the log looks like (``docs/logs.md``).
    :ivar inactivity_timeout: seconds of a client's silence, where ``timeouts`` say nothing else.
    :ivar force_shutdown_timeout: seconds that transactions in flight get at the end.
    :ivar smtps_port: listeners on it speak TLS at once.
    :ivar auth_allow_plaintext: whether logins are taken without TLS, from anywhere.
    :ivar tls: the edge's, where there is a certificate. ``client_tls``: towards backends.
    :ivar bare_newline: what a message with a bare LF gets; one with a bare CR is refused.
    :ivar bare_newline_exempt: the clients whose bare LFs are normalized in any case.
    :ivar spool_dir: where a large message is kept while it passes.
    :ivar outbound: the queue. ``None`` where nothing is queued: no route leads there, and there is
        no ``outbound.ini`` and no queue of the default place that may still hold mail.
    :ivar http: ``None`` where nothing is shown.
    :ivar debug_session: whose dialogues are shown in the log; ``None``: nobody's.
    :ivar warnings: for the log and for ``check``; they do not stop the start.
    :ivar notes: for ``check`` alone: defaults that differ from those of Haraka.
    :ivar files: those that were looked at, as they were then.
    """

    me: str
    routes: Routes
    access: Access = Access()
    limits: Limits = Limits()
    own_name: str | None = None
    listen: tuple[str, ...] = ("tcp6:25:interface=\\:\\:",)
    nodes: int = 0
    log_format: Literal["line", "postfix", "json"] = "line"
    inactivity_timeout: float = 300.0
    timeouts: ClientTimeouts = ClientTimeouts()
    force_shutdown_timeout: float = 30.0
    bare_newline: Literal["reject", "normalize"] = "reject"
    bare_newline_exempt: Networks | None = None
    spool_dir: str = "/tmp"  # noqa: S108 -- a spooled file has no name
    smtps_port: int = 465
    auth_allow_plaintext: bool = False
    tls: ServerTLS | None = None
    client_tls: ClientTLS = ClientTLS()
    logins: Logins = Logins()
    outbound: Outbound | None = None
    http: HTTP | None = None
    debug_session: DebugSession | None = None
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), eq=False)
    files: Stamps = field(factory=dict, eq=False, repr=False)

    @property
    def shown_servers(self) -> frozenset[Server]:
        """The backends whose dialogues are shown in the log."""
        if self.debug_session is None:
            return frozenset()
        routes = self.routes
        named = (
            routes.sections[name] if name else routes.default for name in self.debug_session.routes
        )
        return frozenset(server for route in named for server in route.next_hop.servers)

    @property
    def first_command_timeout(self) -> float:
        """Seconds from the connection to the end of the first command."""
        return self.timeouts.first_command or self.inactivity_timeout

    @property
    def command_timeout(self) -> float:
        """Seconds from an answer to the end of the next command."""
        return self.timeouts.command or self.inactivity_timeout

    @property
    def data_timeout(self) -> float:
        """Seconds between two blocks of a message's data."""
        return self.timeouts.data or self.inactivity_timeout

    def normalizes(self, ip: str) -> bool:
        """Whether bare LFs from ``ip`` become CRLF."""
        if self.bare_newline == "normalize":
            return True
        return self.bare_newline_exempt is not None and ip in self.bare_newline_exempt
