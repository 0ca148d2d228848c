"""The guards of addresses and SMTP extensions."""

from tests.guards import Guard

ADDRESS = "smtpforward/address.py"
ENVELOPE = "smtpforward/envelope.py"
EXCHANGE = "smtpforward/client/exchange.py"
LEARNED = "smtpforward/learned.py"
PARAMETERS = "smtpforward/server/parameters.py"
PROTOCOL = "smtpforward/server/protocol.py"
RECEIVED = "smtpforward/server/received.py"
SESSION = "smtpforward/client/session.py"
UTF8 = "smtpforward/utf8.py"


def _address(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_address.InternationalTests.{test}", file, before, after)


def _parameters(test: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_server_parameters.{test}", PARAMETERS, before, after)


def _utf8(test: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_client_session.Utf8Tests.{test}", SESSION, before, after)


GUARDS = [
    _address(
        "test_not_utf8",
        UTF8,
        "        return False\n    return all(",
        "        return True\n    return all(",
    ),
    _address("test_unfit", UTF8, "if unicodedata.category(character) in _REFUSED:", "if False:"),
    _address("test_unfit", UTF8, "all(part.isalnum() for part in parts if part.isascii())", "True"),
    _address("test_good", UTF8, "if character in _JOINERS:", "if False:"),
    _address(
        "test_domains", UTF8, '.lower().split(".")', '.lower().replace("\\u3002", ".").split(".")'
    ),
    _address("test_length_is_in_octets", UTF8, "    if len(name) > MAX_DOMAIN:", "    if False:"),
    _address("test_unfit", ADDRESS, "not utf8.is_fit(argument):", "False:"),
    _address(
        "test_not_asked_for", ADDRESS, 'return b"SMTPUTF8" in parsed.parameters', "return True"
    ),
    _address(
        "test_not_asked_for",
        ADDRESS,
        "return _parse_recipient(argument) if argument.isascii() else Fault.NON_ASCII",
        "return _parse_recipient(argument)",
    ),
    Guard(
        "tests.test_address.PathTests.test_length",
        ADDRESS,
        "if len(local) + len(domain) + 3 > MAX_PATH:",
        "if False:",
    ),
    Guard(
        "tests.test_address.ParameterTests.test_bad",
        ADDRESS,
        r'text.replace(b"\t", b" ").split(b" ")',
        "text.split()",
    ),
    Guard(
        "tests.test_envelope.AddressTests.test_comparable",
        ENVELOPE,
        "return unquoted(self.local), self.host",
        "return self.local, self.host",
    ),
    Guard(
        "tests.test_envelope.AddressTests.test_in_ascii",
        ENVELOPE,
        "        if not self.local.isascii():",
        "        if False:",
    ),
    Guard(
        "tests.test_learned.LearnedRefusalsTests.test_one_mailbox",
        LEARNED,
        "        if not self._known:\n            return None\n"
        "        key = (next_hop, sender.comparable, recipient.comparable)",
        "        key = (next_hop, bytes(sender), bytes(recipient))",
    ),
    Guard(
        "tests.test_server_protocol.CommandTests.test_utf8",
        PROTOCOL,
        "if path is address.Fault.NON_ASCII and self._utf8:",
        "if path is address.Fault.NON_ASCII:",
    ),
    Guard(
        "tests.test_server_protocol.CommandTests.test_parameters_after_helo",
        PROTOCOL,
        "        extended = self._hello is Hello.EXTENDED",
        "        extended = True",
    ),
    Guard(
        "tests.test_server_protocol.CommandTests.test_parameters_after_helo",
        PROTOCOL,
        "path.parameters, self._hello is Hello.EXTENDED)",
        "path.parameters, True)",
    ),
    Guard(
        "tests.test_server_received.ReceivedTests.test_recipient_outside_ascii",
        RECEIVED,
        " and recipient.isascii()",
        "",
    ),
    _parameters("RcptTests.test_bad_values", r"[2-6][0-9A-Fa-f]|7[0-9A-Ea-e]", "[0-9A-F]{2}"),
    _parameters("RcptTests.test_bad_values", " and len({*words}) == len(words)", ""),
    _utf8("test_refused", "    alone = ", '    alone = b"x" or '),
    _utf8("test_refused", "alone and header.isascii() and", "alone and"),
    _utf8(
        "test_strict", "(not strict and _has_ascii_headers(content))", "_has_ascii_headers(content)"
    ),
    Guard(
        "tests.test_client_exchange.CommandTests.test_dsn",
        EXCHANGE,
        'if recipient.parameters and b"DSN" in self._extensions:',
        "if recipient.parameters:",
    ),
    Guard(
        "tests.test_client_exchange.CommandTests.test_utf8",
        EXCHANGE,
        'if b"SMTPUTF8" in parameters and b"SMTPUTF8" in extensions:',
        'if b"SMTPUTF8" in parameters:',
    ),
]
