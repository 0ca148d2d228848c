"""The guards of what runs the process: the manager hears the truth, a hand-over drops nobody."""

from tests.guards import Guard

NOTIFY = "smtpforward/running/notify.py"
INHERITED = "smtpforward/running/inherited.py"
SUCCESSOR = "smtpforward/running/successor.py"
SUPERVISED = "smtpforward/running/supervised.py"
QUEUE = "smtpforward/outbound/queue.py"
PORTS = "smtpforward/net/accepting.py"


def _supervised(test: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_running_supervised.{test}", SUPERVISED, before, after)


GUARDS = [
    # What is said.
    Guard(
        "tests.test_running_notify.SupervisorTests.test_path",
        NOTIFY,
        '(environ.pop(k, "") for k in (SOCKET, WATCHDOG, WATCHED))',
        '(environ.get(k, "") for k in (SOCKET, WATCHDOG, WATCHED))',
    ),
    _supervised(
        "WatchdogTests.test_half_the_time",
        "half = self._supervisor.watchdog / 2",
        "half = self._supervisor.watchdog",
    ),
    _supervised("ReplaceTests.test_replaced", "        self._supervisor = Supervisor()\n", ""),
    _supervised("ReplaceTests.test_replaced", "        self._pid_file.leave()\n", ""),
    _supervised("ReplaceTests.test_no_successor", "        self._pid_file.take_back()\n", ""),
    _supervised(
        "ReplaceTests.test_stopped_meanwhile",
        "            self._successor.kill()\n",
        "            pass\n",
    ),
    # The sockets.
    Guard(
        "tests.test_running_inherited.PlaceTests.test_left",
        INHERITED,
        "if left and not self._successor:",
        "if False:",
    ),
    Guard(
        "tests.test_running_inherited.EnvironmentTests.test_looked_at",
        INHERITED,
        "                os.set_blocking(descriptor, False)\n",
        "",
    ),
    Guard(
        "tests.test_net_writethrough.ReactorTests.test_let_go",
        PORTS,
        "(tcp.Port if self.keeps_path else unix.Port).connectionLost(self, reason)",
        "unix.Port.connectionLost(self, reason)",
    ),
    Guard(
        "tests.test_net_writethrough.ReactorTests.test_let_go",
        PORTS,
        "    _shouldShutdown = False  # noqa: N815 -- Twisted's name",
        "",
    ),
    Guard(
        "tests.test_running_successor.PatienceTests.test_too_late",
        SUCCESSOR,
        "        self.kill()\n        self._ready.errback",
        "        self._ready.errback",
    ),
    Guard(
        "tests.test_running_successor.StartTests.test_takes_mail",
        SUCCESSOR,
        "if os.fork():",
        "if False:",
    ),
    # The queue.
    Guard(
        "tests.test_outbound_queue.TakingTests.test_succeeds",
        QUEUE,
        "        failure.trap(StoreInUseError)\n        self.delivers = False\n",
        "        failure.trap(StoreInUseError)\n",
    ),
]
