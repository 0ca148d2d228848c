"""The guards of the queue in PostgreSQL."""

from tests.guards import Guard

UNIT = "tests.test_outbound_store_postgresql"
SHARED = "tests.integration.test_store_postgresql_shared"
FAULTS = "tests.integration.test_store_postgresql_faults"
FOLDER = "smtpforward/outbound/store/postgresql"


def _guard(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(test, f"{FOLDER}/{file}.py", before, after)


GUARDS = [
    _guard(
        f"{FAULTS}.AwayTests.test_hangs_when_a_connection_is_made",
        "connections",
        "        self._threads.cut_slow()\n",
        "",
    ),
    _guard(
        f"{FAULTS}.AwayTests.test_hangs_when_a_connection_is_made_at_the_end",
        "threads",
        "(*lines, *list(self._beginning))",
        "lines",
    ),
    _guard(
        f"{FAULTS}.RefusalTests.test_other_programs_may_stand_still",
        "standstill",
        "AND application_name = current_setting('application_name')\n",
        "",
    ),
    _guard(
        f"{FAULTS}.RefusalTests.test_gateway_that_stands_still_after_a_flush",
        "standstill",
        "state <> 'idle'",
        "state = 'active'",
    ),
    _guard(
        f"{FAULTS}.RefusalTests.test_gateway_that_stands_still",
        "standstill",
        "        if now >= self._next:\n",
        "        if False:\n",
    ),
    _guard(
        f"{UNIT}.AddressTests.test_none",
        "address",
        ") from None",
        ")",
    ),
    _guard(
        f"{UNIT}.OutageTests.test_several_at_once", "outage", "if now >= self._until:", "if True:"
    ),
    _guard(
        f"{UNIT}.ClockTests.test_slow_question",
        "clock",
        "if self._measured is None or after - before <= TRIP:",
        "if True:",
    ),
    _guard(
        f"{UNIT}.TogetherTests.test_one_at_fault",
        "together",
        "if failure.check(StoreUnavailableError, StoreFullError):",
        "if True:",
    ),
    _guard(
        f"{UNIT}.TogetherTests.test_cancelled",
        "together",
        " if not each[1].called]",
        "]",
    ),
    _guard(
        f"{SHARED}.SharingTests.test_claims_at_once",
        "leases",
        "    ORDER BY due LIMIT %s FOR UPDATE SKIP LOCKED\n",
        "    ORDER BY due LIMIT %s\n",
    ),
    _guard(
        f"{SHARED}.SharingTests.test_opened_at_once",
        "schema",
        '        work.rows("SELECT pg_advisory_xact_lock(%s)", (LOCK,))\n',
        "",
    ),
    _guard(
        f"{FAULTS}.AwayTests.test_restart_while_nobody_asks",
        "threads",
        " and not _has(held.fileno(), select.POLLIN):",
        ":",
    ),
    _guard(
        f"{FAULTS}.AwayTests.test_no_further_connection",
        "connections",
        "        if unserved and not call.over and self._threads.has_connection:",
        "        if False:",
    ),
    _guard(
        f"{FAULTS}.RefusalTests.test_settings_of_the_role",
        "threads",
        "WHEN 'off' THEN 'on'",
        "WHEN 'off' THEN 'off'",
    ),
    _guard(
        f"{FAULTS}.RefusalTests.test_cancelled",
        "connections",
        "        if self._call.over:\n",
        "        if False:\n",
    ),
]
