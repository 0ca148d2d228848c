"""The guards of where queued mail goes: lookups and MX hosts."""

from tests.guards import Guard

CANDIDATES = "smtpforward/outbound/candidates.py"
LOOKUPS = "smtpforward/outbound/lookups.py"
MX = "smtpforward/outbound/mx.py"
STUB = "smtpforward/outbound/stub.py"
RECORDS = "smtpforward/outbound/records.py"


def _candidates(test: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_outbound_candidates.{test}", CANDIDATES, before, after)


def _lookups(test: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_outbound_lookups.{test}", LOOKUPS, before, after)


def _hosts(test: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_outbound_mx.MailHostsTests.{test}", MX, before, after)


def _records(test: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_outbound_records.{test}", RECORDS, before, after)


GUARDS = [
    # Loops.
    _candidates("UsableTests.test_us", "host.preference < ours]", "not is_us(host)]"),
    _candidates("UsableTests.test_us_alone", "host.preference < ours]", "host.preference <= ours]"),
    _hosts("test_ourselves", "by_name or any(", "any("),
    # What stands behind this gateway.
    _candidates("UsableTests.test_private", "local_ok or not is_private(ip)", "True"),
    _candidates("PrivateTests.test_private", "if address in NAT64:", "if False:"),
    _candidates("PrivateTests.test_private", "inner = address.sixtofour", "inner = None"),
    # Permanent or not.
    _hosts("test_null", "        if answer.records:\n", "        if False:\n"),
    _hosts(
        "test_nothing", "not hosts[0].addresses and not hosts[0].failed:", "not hosts[0].addresses:"
    ),
    _candidates("UsableTests.test_none_known", "        if host.failed:\n", "        if False:\n"),
    _candidates(
        "UsableTests.test_private_alone", "if all(host.addresses for", "if any(host.addresses for"
    ),
    _hosts("test_cancelled", "            answer.trap(LookupFailed)\n", "            pass\n"),
    # What is kept, and what is asked.
    _lookups("KeptTests.test_found", "self._clock.seconds() < kept.until", "True"),
    _lookups("KeptTests.test_bounded", "if len(self._kept) > self._most:", "if False:"),
    _lookups(
        "KeptTests.test_bounded",
        "            self._kept[question] = kept\n            ret",
        "            ret",
    ),
    _lookups("SharedTests.test_once", "        if is_new:\n", "        if True:\n"),
    _lookups("SharedTests.test_failure", "LookupFailed(*found.args)", "found"),
    _lookups("SharedTests.test_at_once", "async with self._turns:", "if True:"),
    _lookups("FailedTests.test_silence", "asking.addTimeout(WITHIN, self._clock)", "asking"),
    _lookups("AnswerTests.test_no_name_that_can_be", "if not is_name(question[0]):", "if False:"),
    _records("ReadTests.test_of_others", "if _text(header.name) == name]", "]"),
    _records(
        "ReadTests.test_odd_names", 'ODD.sub(lambda octet: b"\\\\%03d" % ord(octet[0]), ', "("
    ),
    Guard(
        "tests.integration.test_mx.ServersTests.test_another_one",
        STUB,
        "if message.rCode not in ITS_OWN_FAULT:",
        "if True:",
    ),
    Guard(
        "tests.integration.test_mx.ThroughDnsmasqHostsTests.test_long_answer",
        STUB,
        "            connection.transport.loseConnection()\n",
        "            pass\n",
    ),
]
