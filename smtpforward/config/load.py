"""A configuration directory to :class:`Settings`.

Rules: ``smtp_forward.ini`` must be there, every other file may be missing. All problems of all
files are reported at once, in the order of files and lines; with a single one there are no
settings.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from attrs import evolve, frozen

from smtpforward.config import edge, http, lists, logins, outbound, routes, tls
from smtpforward.config.advice import advice, advice_of_queue
from smtpforward.config.dialect import MAIN, Document
from smtpforward.config.problems import ConfigurationError, Place, Problem, Report
from smtpforward.config.reading import Reading, check
from smtpforward.config.settings import Access, Settings
from smtpforward.config.spec import FORWARD, LOGINS, SERVER, Spec
from smtpforward.config.spec_http import HTTP
from smtpforward.config.spec_outbound import OUTBOUND
from smtpforward.config.spec_tls import TLS

FORWARD_FILE = "smtp_forward.ini"
LIST_FILES = ("host_list", "host_list_regex", "relay_acl_allow")
FILES = (
    *("me", *edge.FILES, tls.FILE, FORWARD_FILE, outbound.FILE, logins.FILE, http.FILE),
    *LIST_FILES,
)
NOTHING_ACCEPTED = (
    "nobody's mail is accepted: host_list, host_list_regex, relay_acl_allow and the users of"
    " auth_flat_file.ini are empty, and check_recipient is not true"
)
# What is true here, and false in Haraka's code where its files do not say it.
DIFFERENT = ("enable_outbound", "enable_tls")
NO_RECEIVED_HEADER = (
    f"received_header is not set in {outbound.FILE}: queued mail gets no Received line beside the"
    " edge's, in Haraka one that says Haraka outbound"
)
# Keys of smtp.ini that are settings of the same name.
AS_THEY_ARE = (
    *("inactivity_timeout", "force_shutdown_timeout"),
    *("smtps_port", "auth_allow_plaintext", "bare_newline", "bare_newline_exempt"),
    *("nodes", "log_format"),
)


def _now() -> datetime:
    return datetime.now(UTC)


def load(
    directory: str | os.PathLike[str],
    *,
    hostname: Callable[[], str] = socket.getfqdn,
    now: Callable[[], datetime] = _now,
    debug_session: Sequence[str] = (),
) -> Settings:
    """Read the whole directory.

    :param hostname: asked for this host's name when there is no ``me``.
    :param now: asked for the time, to which certificates are compared.
    :param debug_session: more of ``debug_session``, from the command line.
    :raises ConfigurationError: with all that is wrong.
    """
    root = os.fspath(directory)
    report = Report()
    files = _read_all(root, report)
    settings = _build(root, files, hostname, now(), debug_session, report)
    if settings is None or report.problems:
        problems = tuple(sorted(report.problems, key=_position))
        raise ConfigurationError(problems, report.files)
    for text in _remarks(root, files, settings):
        report.warn(text)
    return evolve(
        settings,
        warnings=tuple(report.warnings),
        notes=tuple(_notes(files, settings)),
        files=report.files,
    )


def _position(problem: Problem) -> tuple[int, int]:
    name = os.path.basename(problem.file)
    return FILES.index(name if name in FILES else tls.FILE), problem.line or 0


@frozen
class _Files:
    """The ini files, read and checked. ``forward`` is missing when its file is."""

    server: Reading
    tls: Reading
    users: Reading
    outbound: Reading
    http: Reading
    forward: Reading | None

    @property
    def ignored(self) -> list[str]:
        """The keys that this gateway lacks."""
        readings = (
            *(self.server, self.tls, self.forward, self.outbound, self.users),
            self.http,
        )
        return [key for reading in readings if reading for key in reading.ignored]


def _read_all(root: str, report: Report) -> _Files:
    return _Files(
        server=_read(root, edge.FILES, SERVER, report),
        tls=_read(root, (tls.FILE,), TLS, report),
        users=_read(root, (logins.FILE,), LOGINS, report),
        outbound=_read(root, (outbound.FILE,), OUTBOUND, report),
        http=_read(root, (http.FILE,), HTTP, report),
        forward=_forward(root, report),
    )


def _read(root: str, names: Iterable[str], spec: Spec, report: Report) -> Reading:
    """Several files as one; those that are not there say nothing."""
    document = Document(bare=spec.bare)
    for name in names:
        document.read(os.path.join(root, name), report)
    return check(document, spec, report)


def _forward(root: str, report: Report) -> Reading | None:
    path = os.path.join(root, FORWARD_FILE)
    document = Document()
    if document.read(path, report):
        return check(document, FORWARD, report)
    if not os.path.lexists(path):
        report.add(Place(path), None, "is not there", "this file, with at least host=NAME in it")
    return None


def _build(
    root: str,
    files: _Files,
    hostname: Callable[[], str],
    now: datetime,
    debug_session: Sequence[str],
    report: Report,
) -> Settings | None:
    """Settings without warnings; worth something only when no problem was reported."""
    me, given = lists.read_me(os.path.join(root, "me"), hostname, report)
    server_tls, client_tls = tls.build(files.tls, root, now, report)
    main: dict[str, Any] = dict(files.server.values[MAIN])
    users = logins.build(files.users, os.path.join(root, logins.FILE), report)
    built: dict[str, Any] = {
        "me": me,
        "own_name": me if given else None,
        "access": _access(root, report),
        "limits": edge.limits(files.server),
        "timeouts": edge.timeouts(files.server),
        "listen": edge.listen(files.server, server_tls is not None, users, report),
        "spool_dir": edge.spool_dir(files.server, root, report),
        "tls": server_tls,
        "client_tls": client_tls,
        "logins": users,
        "http": http.build(files.http, os.path.join(root, http.FILE), report),
        **{key: main[key] for key in AS_THEY_ARE},
    }
    found = None
    if files.forward is not None:
        path = os.path.join(root, FORWARD_FILE)
        found = routes.build(files.forward, path, me, client_tls, report)
    built["debug_session"] = edge.debug_session(files.server, debug_session, found, report)
    path = os.path.join(root, outbound.FILE)
    queue = outbound.build(files.outbound, path, me, client_tls, found, report)
    return Settings(routes=found, outbound=queue, **built) if found else None


def _access(root: str, report: Report) -> Access:
    hosts, pattern, relays = (os.path.join(root, name) for name in LIST_FILES)
    return Access(
        lists.read_hosts(hosts, report),
        lists.read_host_pattern(pattern, report),
        lists.read_relays(relays, report),
    )


def _remarks(root: str, files: _Files, settings: Settings) -> Iterator[str]:
    """What concerns several files, for warnings."""
    yield from advice(settings.routes, settings.inactivity_timeout, settings.nodes)
    if settings.outbound:
        yield from advice_of_queue(settings.outbound)
    if files.ignored:
        yield f"this gateway lacks, and ignores: {', '.join(files.ignored)}"
    access = settings.access
    known = access.hosts or access.host_pattern or access.relays or settings.logins.users
    if not (known or settings.routes.check_recipient):
        yield NOTHING_ACCEPTED


def _notes(files: _Files, settings: Settings) -> Iterator[str]:
    """The defaults that differ from those in Haraka's code, where they are at work."""
    for key in DIFFERENT:
        if files.forward and (MAIN, key) not in files.forward.places:
            yield f"{key} is not set in {FORWARD_FILE}: it is true here, and false in Haraka"
    if settings.outbound and (MAIN, "received_header") not in files.outbound.places:
        yield NO_RECEIVED_HEADER
