"""The settings as values: built once from the files, frozen, passed down."""

import re
from collections.abc import Mapping
from typing import Literal

from attrs import field, frozen

from smtpforward.config.networks import Networks
from smtpforward.job import NextHop


@frozen
class Limits:
    """What one client may take (DESIGN of each key: ``docs/settings.md``).

    :ivar bytes: of one message. ``spool_after``: bytes of it that stay in memory.
    :ivar line_length: of a command, without what extensions add.
    :ivar errors: wrong commands before 421; ``unrecognized_commands`` before 521.
    :ivar max_received: ``Received`` lines of a message that has not been looping.
    """

    bytes: int = 26214400
    spool_after: int = 1048576
    line_length: int = 512
    recipients: int = 1000
    errors: int = 20
    unrecognized_commands: int = 10
    max_received: int = 100


@frozen
class Route:
    """What ``smtp_forward.ini`` says for one section.

    :ivar section: its name as written, or ``""`` for the top level.
    :ivar next_hop: where its messages go; part of the route's identity, as the section is not.
    :ivar partial_rejection: what a transaction gets of which the backend refuses some recipients.
    """

    section: str
    next_hop: NextHop
    partial_rejection: Literal["learn", "reject"] = "learn"


@frozen
class Routes:
    """All of ``smtp_forward.ini``.

    :ivar sections: by domain, lower case, A-labels.
    :ivar check_recipient: whether a section makes its domain acceptable.
    """

    default: Route
    sections: Mapping[str, Route] = field(factory=dict)
    check_recipient: bool = False


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
class Settings:
    """The whole configuration directory.

    :ivar me: this host's name. ``listen``: Twisted endpoint descriptions.
    :ivar own_name: ``me`` where the file gives it: a backend that greets with it is this gateway.
        The system's name may well be that of another server on this host.
    :ivar inactivity_timeout: seconds of a client's silence.
    :ivar force_shutdown_timeout: seconds that transactions in flight get at the end.
    :ivar spool_dir: where a large message is kept while it passes.
    :ivar warnings: for the log and for ``check``; they do not stop the start.
    """

    me: str
    routes: Routes
    access: Access = Access()
    limits: Limits = Limits()
    own_name: str | None = None
    listen: tuple[str, ...] = ("tcp6:25:interface=\\:\\:",)
    inactivity_timeout: float = 300.0
    force_shutdown_timeout: float = 30.0
    spool_dir: str = "/tmp"  # noqa: S108 -- a spooled file has no name
    warnings: tuple[str, ...] = ()
