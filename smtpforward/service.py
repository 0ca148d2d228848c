"""The twistd plugin's options and service.

With ``nodes`` it is the service of the parent, and each worker (``worker.py``) runs a ``Gateway``.
Failure policy: settings that are wrong stop the start with exit code 78 and every problem on
standard error, before anything listens; so does an address that cannot be listened on, with 1 and
a line that says which (``running/unstarted.py``).
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.threads import deferToThreadPool
from twisted.logger import LogEvent
from twisted.python import usage

from smtpforward.config import ConfigurationError, load
from smtpforward.config.settings import HTTP, Settings
from smtpforward.formats.as_json import JSONLog
from smtpforward.formats.as_postfix import PostfixLog
from smtpforward.gateway import QUIT_TIME, Gateway, spare_collector
from smtpforward.hosting import Hosting
from smtpforward.logs import LogText, TextLog
from smtpforward.net.clock import make_monotonic
from smtpforward.net.outbox import OUTBOX
from smtpforward.net.polling import without_log_context
from smtpforward.net.reactor import WriteThroughReactor
from smtpforward.net.watching import Watcher
from smtpforward.reload import (
    OnSignal,
    Prepared,
    Reloader,
    prepared,
)
from smtpforward.running.inherited import MismatchError
from smtpforward.running.supervised import Supervised
from smtpforward.running.unstarted import say_in_a_line
from smtpforward.version import version
from smtpforward.workers.parent import KILL_TIME, Parent

EX_CONFIG = 78
DEFAULT_DIRECTORY = "/etc/smtpforward"
WORKER = "smtpforward.worker"
SPARE_TIME = 5.0  # of a worker that ends, beyond what its gateway takes


class Options(usage.Options):
    """What ``twistd smtpforward`` takes."""

    synopsis = "[options]"
    longdesc = "A mail gateway: hands each message to another mail server while the sender waits."
    optParameters = [
        ["config", "c", DEFAULT_DIRECTORY, "Directory of the configuration files."],
    ]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self["listen"] = []
        self["debug_session"] = []

    def opt_listen(self, description: str) -> None:
        """Endpoint to listen on in place of the configured ones, such as
        tcp:2525:interface=127.0.0.1; may be given several times."""
        self["listen"].append(description)

    opt_l = opt_listen

    def opt_debug_session(self, whose: str) -> None:
        """Show the dialogues of a client (an address or a network) or with the backends of a route
        (its section, or default) in the log; may be given several times."""
        self["debug_session"].append(whose)


def makeService(options: Options) -> IService:
    """The service of a configuration directory.

    :raise SystemExit: 78, with all problems on standard error, when the settings are wrong.
    """
    from twisted.internet import reactor

    # The daemon changes its working directory later.
    directory = os.path.abspath(options["config"])
    read = partial(load, directory, debug_session=options["debug_session"])
    try:
        settings = read()
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        sys.exit(EX_CONFIG)
    say_in_a_line()
    make_monotonic(reactor)
    without_log_context(reactor)
    own = WriteThroughReactor(reactor)
    listen = options["listen"] or settings.listen
    try:
        hosting = Hosting(os.environ, own)
        places = hosting.places(listen)
        shown_at = hosting.places(settings.http.listen if settings.http else ())
        hosting.all_placed()
    except MismatchError as error:
        print(error, file=sys.stderr)
        sys.exit(EX_CONFIG)
    service: Gateway | Parent
    if settings.nodes:
        service = Parent(
            settings, own, places, own, WORKER, QUIT_TIME + SPARE_TIME, hosting.succeeds
        )
    else:
        spare_collector()
        service = Gateway(settings, own, places, reactor, succeeds=hosting.succeeds)
    log = TextLog(format_event=_log_format(settings), rounds=OUTBOX)
    if options.parent is None or not options.parent.get("logger"):
        log.setServiceParent(service)
        # Before what listens, and says so.
        service.services.insert(0, service.services.pop())
    listening: list[tuple[Sequence[str], MultiService]] = [(listen, service)]
    spare = QUIT_TIME + SPARE_TIME + KILL_TIME
    supervised = hosting.supervised(
        service, listening, lambda: service.settings.force_shutdown_timeout + spare, options.parent
    )
    reloader = _keep_up_to_date(service, read, reactor, log, supervised)
    if settings.http is not None:
        showing = _show(settings.http, service, reloader, own, shown_at)
        listening.append((settings.http.listen, showing))
    supervised.setServiceParent(service)
    OnSignal(reactor, signal.SIGUSR2, supervised.replace).setServiceParent(service)
    return service


def _log_format(settings: Settings) -> Callable[[LogEvent], str | None]:
    """What makes the log's lines of its events."""
    if settings.log_format == "json":
        return JSONLog()
    return PostfixLog(settings.me) if settings.log_format == "postfix" else LogText()


def _show(
    http: HTTP, service: Gateway | Parent, reloader: Reloader, reactor: Any, places: Sequence[Any]
) -> MultiService:
    """Have what is to be seen of ``service`` shown."""
    # It takes packages that are needed for nothing else.
    from smtpforward.showing import Showing

    showing = Showing(
        *(http, service.observe, service.ask, lambda: service.settings, reloader, reactor),
        version=version(),
        places=places,
    )
    showing.setServiceParent(service)
    return showing


def _keep_up_to_date(
    service: Gateway | Parent,
    read: Callable[[], Settings],
    reactor: Any,
    log: TextLog,
    supervised: Supervised,
) -> Reloader:
    """Have the directory read again when it changes, and on SIGHUP."""
    reloader = Reloader(
        partial(prepared, read, service.prepare),
        Prepared.let_hold,
        service.settings.files,
        reactor,
        partial(deferToThreadPool, reactor, reactor.getThreadPool()),
        Watcher(reactor),
        supervised,
    )
    reloader.setServiceParent(service)

    def hang_up() -> None:
        log.reopen()
        reloader.reload()

    OnSignal(reactor, signal.SIGHUP, hang_up).setServiceParent(service)
    return reloader
