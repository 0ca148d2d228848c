"""A worker process of ``nodes``: the parent runs this module, see ``workers/``.

It is nothing to start by hand: it wants the parent's socket and the listening ones.
"""

import signal
import sys
from collections.abc import Sequence
from typing import Any

from twisted.logger import globalLogBeginner

from smtpforward import record
from smtpforward.config.settings import Settings
from smtpforward.net.clock import make_monotonic
from smtpforward.net.polling import without_log_context
from smtpforward.net.writethrough import WriteThroughReactor
from smtpforward.service import Gateway, spare_collector
from smtpforward.workers.child import Worker
from smtpforward.workers.leases import Leases
from smtpforward.workers.lines import RecordWriter


def main() -> int:
    """Run until the parent has had enough; the exit code."""
    from twisted.internet import reactor

    log = RecordWriter()
    globalLogBeginner.beginLoggingTo([log])
    make_monotonic(reactor)
    without_log_context(reactor)
    own: Any = WriteThroughReactor(reactor, shared=True)

    def make(settings: Settings, listen: Sequence[Any], leases: Leases, number: int) -> Gateway:
        record.begin_ids(number)
        log.with_facts = settings.log_format != "line"
        first = number == 1
        gateway = Gateway(settings, own, listen, reactor, leases.share, delivers=first)
        spare_collector()
        return gateway

    worker = Worker(own, make)
    worker.begin()
    # A signal to the whole group reaches parent and worker: to stop twice is no fault. What HUP
    # means the parent knows.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: own.callFromThread(worker.stop))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    own.run(installSignalHandlers=False)
    return worker.exit_code


if __name__ == "__main__":
    sys.exit(main())
