"""A worker process of ``nodes``: the parent runs this module, see ``workers/``.

It is nothing to start by hand: it wants the parent's socket and the listening ones.
"""

import signal
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

from twisted.internet.threads import deferToThreadPool
from twisted.logger import globalLogBeginner

from smtpforward import record
from smtpforward.gateway import Gateway, spare_collector
from smtpforward.net.clock import make_monotonic
from smtpforward.net.outbox import OUTBOX
from smtpforward.net.polling import without_log_context
from smtpforward.net.reactor import WriteThroughReactor
from smtpforward.workers.child import Worker
from smtpforward.workers.leases import Leases
from smtpforward.workers.lines import RecordWriter
from smtpforward.workers.messages import Start


def main() -> int:
    """Run until the parent has had enough; the exit code."""
    from twisted.internet import reactor

    log = RecordWriter(rounds=OUTBOX)
    globalLogBeginner.beginLoggingTo([log])
    make_monotonic(reactor)
    without_log_context(reactor)
    own: Any = WriteThroughReactor(reactor, shared=True)

    def make(start: Start, listen: Sequence[Any], leases: Leases) -> Gateway:
        settings, first = start.settings, start.number == 1
        record.begin_ids(start.number)
        log.with_facts = settings.log_format != "line"
        gateway = Gateway(settings, own, listen, reactor, leases.share, first, start.succeeds)
        spare_collector()
        return gateway

    in_thread = partial(deferToThreadPool, own, own.getThreadPool())
    worker = Worker(own, make, in_thread)
    worker.begin()
    # A signal to the whole group reaches parent and worker: to stop twice is no fault. What HUP
    # and USR2 mean the parent knows.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: own.callFromThread(worker.stop))
    for number in (signal.SIGHUP, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    own.run(installSignalHandlers=False)
    return worker.exit_code


if __name__ == "__main__":
    sys.exit(main())
