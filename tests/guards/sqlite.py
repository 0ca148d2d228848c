"""What keeps the queue in SQLite from losing mail, and from harm by its surroundings."""

from tests.guards import Guard

STORE = "smtpforward/outbound/store/"
SQLITE = f"{STORE}sqlite/"
TESTS = "tests.test_outbound_store_sqlite"
DISK = "tests.integration.test_queue_sqlite.FullDiskTests"

GUARDS = (
    Guard(
        f"{TESTS}.OpeningTests.test_durable",
        f"{SQLITE}database.py",
        '    "synchronous = FULL",\n',
        '    "synchronous = NORMAL",\n',
    ),
    Guard(
        f"{TESTS}.OpeningTests.test_one_delivers",
        f"{SQLITE}database.py",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
    ),
    Guard(
        f"{TESTS}.OpeningTests.test_rights",
        f"{SQLITE}database.py",
        "os.O_EXCL, 0o600",
        "os.O_EXCL, 0o644",
    ),
    Guard(
        f"{TESTS}.FilesTests.test_lost",
        f"{SQLITE}bodies.py",
        "if found != octets:",
        "if found < 0:",
    ),
    Guard(
        f"{TESTS}.FilesTests.test_orphans",
        f"{SQLITE}bodies.py",
        "if found.name not in known and _is_old(found, now):",
        "if found.name not in known:",
    ),
    Guard(
        f"{TESTS}.FilesTests.test_orphans",
        f"{SQLITE}bodies.py",
        "found.name not in known and ",
        "",
    ),
    Guard(
        f"{TESTS}.FilesTests.test_not_written",
        f"{SQLITE}bodies.py",
        "            for each in (path + _PART, path):\n                _remove(each)\n",
        "",
    ),
    Guard(
        f"{TESTS}.FilesTests.test_removed",
        f"{SQLITE}store.py",
        "            if not added:\n",
        "            if False:\n",
    ),
    Guard(
        "tests.test_outbound_store_connection.ConnectionTests.test_one_fails",
        f"{SQLITE}connection.py",
        "if not last and (room or len(batch) > 1):",
        "if not last and room:",
    ),
    Guard(
        f"{DISK}.test_no_growth",
        f"{SQLITE}connection.py",
        "room = _made_room(connection, error)",
        "room = False",
    ),
    Guard(
        f"{DISK}.test_reserve",
        f"{SQLITE}bodies.py",
        "if lacking > 0 and lacking > spare():",
        "if False:",
    ),
    Guard(
        f"{TESTS}.RecordingTests.test_recorded_twice",
        f"{SQLITE}results.py",
        "if not done and _is_known(transaction, result):",
        "if False:",
    ),
    Guard(
        f"{TESTS}.RecordingTests.test_without_a_time",
        f"{SQLITE}results.py",
        "now if result.due is None else result.due",
        "result.due",
    ),
    Guard(
        f"{TESTS}.RecordingTests.test_lost_lease_and_a_bounce",
        f"{SQLITE}results.py",
        "tell = own or after != entry.standing",
        "tell = own",
    ),
    Guard(
        f"{TESTS}.RecordingTests.test_lost_lease",
        f"{SQLITE}results.py",
        "    elif own:\n",
        "    else:\n",
    ),
    Guard(
        f"{TESTS}.DeferringTests.test_not_the_last_attempt",
        f"{SQLITE}results.py",
        "AND attempts < ?",
        "AND attempts <= ?",
    ),
    Guard(
        f"{TESTS}.ChangingTests.test_leased",
        f"{SQLITE}changing.py",
        '_FREE = f"due IS NOT NULL AND NOT {LEASED}"',
        '_FREE = "due IS NOT NULL AND :now"',
    ),
    Guard(
        f"{TESTS}.LeasesTests.test_a_lease_that_has_ended",
        f"{SQLITE}leases.py",
        '_OWN = "owner = ? AND ',
        "_OWN = \"? <> '' AND ",
    ),
    Guard(
        f"{TESTS}.UpkeepTests.test_own_commits",
        f"{SQLITE}store.py",
        "self._reactor, self._writer.run, self._version, changed",
        "self._reactor, self._reader.run, self._version, changed",
    ),
    Guard(
        "tests.test_outbound_store_rows.StandingTests.test_what_is_final_stays",
        f"{STORE}rows.py",
        "new = (i for i in self.queued if",
        "new = (i for i in said if",
    ),
)
