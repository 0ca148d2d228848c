"""The guards of worker processes: bounds that hold over all of them, and lives that end."""

from tests.guards import Guard

POOL = "smtpforward/client/pool.py"
LIMIT = "smtpforward/client/limit.py"
SHARES = "smtpforward/workers/shares.py"
LEASES = "smtpforward/workers/leases.py"
PARENT = "smtpforward/workers/parent.py"
CHILD = "smtpforward/workers/child.py"
PORTS = "smtpforward/net/accepting.py"
REACTOR = "smtpforward/net/reactor.py"
RECORD = "smtpforward/record.py"


def _shares(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_workers_shares.{test}", file, before, after)


TELL = "        self._slots.tell(used + room, lacking - room, bound)\n"

GUARDS = [
    # The bound over all workers.
    _shares("AnyInterleavingTests", LIMIT, TELL + "        self._set()\n", TELL),
    _shares("AnyInterleavingTests", SHARES, "while free > 0 and (", "while free >= 0 and ("),
    _shares(
        "CrossingTests.test_grant_to_a_forgotten_pool",
        LEASES,
        "self._say(Give(message.key, message.slots))",
        "pass",
    ),
    _shares(
        "ScarceTests.test_a_smaller_bound",
        SHARES,
        "            self._cap(key, worker, holder, holder.keeps - 1)\n",
        "",
    ),
    # Nobody starves.
    _shares("ScarceTests.test_death", SHARES, ".pop(worker, None) is not None", " is None"),
    _shares("ScarceTests.test_turns", SHARES, "(item[1].keeps, item[1].granted)", "item[1].keeps"),
    _shares(
        "ScarceTests.test_evened_out",
        LEASES,
        "return self.held if self._cap is None else min(self.held, self._cap)",
        "return self.held",
    ),
    _shares(
        "ScarceTests.test_nothing_idle_while_others_wait",
        POOL,
        "self._bounds.idle if self._plenty else min(self._bounds.idle, SPARED_FOR)",
        "self._bounds.idle",
    ),
    _shares(
        "ScarceTests.test_served_otherwise",
        POOL,
        "            if not self._waiting:\n                self._tell()\n",
        "",
    ),
    Guard(
        "tests.test_client_pool.ShareTests.test_smaller_for_a_moment",
        POOL,
        "            limit.reduced = self._slots_wanted_back >= 0\n",
        "            pass\n",
    ),
    # Lives.
    Guard(
        "tests.test_workers_parent.TalkTests.test_late_words",
        PARENT,
        "if not self.gone:",
        "if True:",
    ),
    Guard(
        "tests.test_workers_parent.StartTests.test_steady",
        PARENT,
        "FIRST_PAUSE if good else ",
        "",
    ),
    Guard(
        "tests.test_workers_child.EndTests.test_parent_gone",
        CHILD,
        '            self.log.error("the parent has gone")\n            self.stop()\n',
        '            self.log.error("the parent has gone")\n',
    ),
    Guard(
        "tests.test_workers_packing.PackingTests.test_small_parts",
        "smtpforward/workers/packing.py",
        "islice(left, PART)",
        "islice(left, None)",
    ),
    # Sockets and ids that others use as well.
    Guard(
        "tests.test_net_writethrough.ReactorTests.test_shared_port",
        REACTOR,
        "kind = SharedPort if self._shared else Port",
        "kind = Port",
    ),
    Guard(
        "tests.test_net_writethrough.ReactorTests.test_shared_unix_port",
        PORTS,
        "    _shouldShutdown = False  # noqa: N815 -- as above",
        "    _unused = False",
    ),
    Guard(
        "tests.test_record.IdTests.test_of_workers",
        RECORD,
        " * MAX_WORKERS + worker, MAX_WORKERS)",
        ")",
    ),
    # Settings that come while others are made ready, or at the end.
    Guard(
        "tests.test_workers_child.ApplyTests.test_in_order",
        CHILD,
        "self._applying.run(self._in_thread, prepare)",
        "self._in_thread(prepare)",
    ),
    Guard(
        "tests.test_workers_child.ApplyTests.test_stopped_meanwhile",
        CHILD,
        "        if not self._stopping:\n            hold()",
        "        hold()",
    ),
    # A mail that kills each worker that takes it does not keep the others away.
    Guard(
        "tests.test_workers_parent.StartTests.test_took_mail",
        PARENT,
        "worker.up or lived >= STEADY",
        "lived >= STEADY",
    ),
    Guard(
        "tests.test_workers_parent.TalkTests.test_long_log",
        PARENT,
        "if len(data) >= FULL:",
        "if not data:",
    ),
    # What is wrong in sections that are alike is told of each.
    Guard(
        "tests.test_config_alike.EachTests.test_contradiction",
        "smtpforward/config/routes.py",
        "if len(self.report.problems) == before:",
        "if self.report:",
    ),
]
