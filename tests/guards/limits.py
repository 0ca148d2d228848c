"""The guards of what clients may take, of the line ends that leave, and of the settings' lines."""

from tests.guards import Guard

CONTENT = "smtpforward/content.py"
CONVERSATION = "smtpforward/server/conversation.py"
DATA = "smtpforward/server/data.py"
END_OF_DATA = "smtpforward/server/endofdata.py"
FACTORY = "smtpforward/server/factory.py"
LIMITS = "smtpforward/limits.py"
PROTOCOL = "smtpforward/server/protocol.py"
TURNED_AWAY = "smtpforward/server/turnedaway.py"


def _guard(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.{test}", file, before, after)


GUARDS = [
    _guard(
        "test_server_endofdata.NormalizingTests.test_lines",
        END_OF_DATA,
        r'.replace(b"\n.", b"\n..")',
        "",
    ),
    _guard(
        "test_server_endofdata.NormalizingTests.test_lines",
        END_OF_DATA,
        r'.replace(b"\r.\n", b"\r..\n")',
        "",
    ),
    _guard(
        "test_server_endofdata.NormalizingTests.test_lines",
        END_OF_DATA,
        r'seam = b"\r" if before == b"\r\n" else before[-1:]',
        'seam = b"x"',
    ),
    _guard(
        "test_server_endofdata.NormalizingTests.test_byte_by_byte",
        END_OF_DATA,
        r'    if before.endswith(b"\r") and piece.startswith(b"\n"):',
        "    if False:",
    ),
    _guard(
        "test_server_data.ArrivalTests.test_bare_cr_is_never_normalized",
        DATA,
        "return self._end.bare_cr or (",
        "return (",
    ),
    _guard(
        "test_server_data.HeaderTests.test_any_split",
        DATA,
        "        elif self._end.ended or self._received > most + len(EMPTY_LINE):",
        "        else:",
    ),
    _guard(
        "test_server_data.HeaderTests.test_any_split",
        DATA,
        "                    self._look_at_header()",
        "                    pass",
    ),
    _guard(
        "test_server_data.HeaderTests.test_looked_at_once",
        DATA,
        "            self._bound = self._limits.bytes\n",
        "            pass\n",
    ),
    _guard(
        "test_server_protocol.MemoryTests.test_client_gone",
        CONTENT,
        "memory.held -= self.size",
        "pass",
    ),
    _guard(
        "test_server_data.MemoryTests.test_above_the_bound_to_the_spool",
        CONTENT,
        " or (memory is not None and memory.held > self._most)",
        "",
    ),
    _guard(
        "test_content.SharedMemoryTests.test_counted_until_closed",
        CONTENT,
        "memory, self._memory = self._memory, None",
        "memory = self._memory",
    ),
    _guard(
        "test_server_factory.BoundsTests.test_nothing_leaks",
        FACTORY,
        "            self.connections.remove(ip)",
        "            pass",
    ),
    _guard(
        "test_server_factory.BoundsTests.test_lost_twice",
        FACTORY,
        "self._open.pop(protocol, None)",
        "self._open.get(protocol)",
    ),
    _guard(
        "test_limits.ConnectionCountTests.test_from_one_address",
        LIMITS,
        " or ip in settings.access.relays:",
        ":",
    ),
    _guard(
        "test_limits.ConnectionCountTests.test_networks_of_ipv6",
        LIMITS,
        '    if ":" not in ip:',
        "    if True:",
    ),
    _guard(
        "test_limits.ConnectionCountTests.test_nothing_is_left",
        LIMITS,
        "            del self._by_origin[origin]",
        "            self._by_origin[origin] = 0",
    ),
    _guard(
        "test_server_factory.BoundsTests.test_under_tls",
        TURNED_AWAY,
        "        if port.tls_at_once or INegotiated.providedBy(self.transport):",
        "        if False:",
    ),
    _guard(
        "test_server_login.SubmissionTests.test_who_relays_by_address",
        PROTOCOL,
        "if self._port.login and not self._user:",
        "if self._port.login and not self._session.client.relaying:",
    ),
    _guard(
        "test_server_protocol.TimeTests.test_each_kind_of_silence",
        CONVERSATION,
        "            self._patience = self._settings.command_timeout",
        "            pass",
    ),
    _guard(
        "test_server_protocol.TimeTests.test_each_kind_of_silence",
        CONVERSATION,
        "            self._watch.arm(self._data_patience)\n            self._data_received(data)",
        "            self._watch.arm(self._patience)\n            self._data_received(data)",
    ),
    _guard(
        "test_config_dialect.LineTests.test_brackets_are_no_key",
        "smtpforward/config/dialect.py",
        "        if not equals or not key:\n",
        "        if not equals or not name.strip(BLANKS):\n",
    ),
    _guard(
        "test_config_dialect.LineTests.test_lone_backslash_is_no_key",
        "smtpforward/config/dialect.py",
        "        if key and not equals and",
        "        if not equals and",
    ),
    _guard(
        "test_server_protocol.DataTests.test_new_limits",
        PROTOCOL,
        "        self._settings = self.factory.settings  # for this transaction",
        "        pass  #",
    ),
]
