"""The guards of the edge: ``tests/test_traps_server.py`` fails without each of them."""

from tests.guards import Guard

MODULE = "tests.test_traps_server"
PROTOCOL = "smtpforward/server/protocol.py"
CONVERSATION = "smtpforward/server/conversation.py"
HEARING = "smtpforward/server/hearing.py"
FACTORY = "smtpforward/server/factory.py"
END_OF_DATA = "smtpforward/server/endofdata.py"
ANSWERS = "smtpforward/answers.py"
SERVICE = "smtpforward/service.py"
GATEWAY = "smtpforward/gateway.py"


def _server(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"{MODULE}.TwistedServerTraps.{test}", file, before, after)


def _around(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"{MODULE}.AroundTwistedTraps.{test}", file, before, after)


def _own_fault(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.integration.test_own_faults.{test}", file, before, after)


def _haraka(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"{MODULE}.HarakaTraps.{test}", file, before, after)


ONE_AT_A_TIME = "            while self.phase is Phase.COMMAND or self.phase is Phase.LOGIN:\n"
MANY_AT_A_TIME = "            while self.phase in (Phase.COMMAND, Phase.ANSWERING):\n"
OFFERED = '        b"PIPELINING",\n'

GUARDS = [
    Guard(
        "tests.test_server_halfclosed.HalfClosedTests.test_quit_is_pipelined",
        HEARING,
        "        elif not (self.phase in WAITING and self._unread.end_with_quit):\n",
        "        else:\n",
    ),
    Guard(
        "tests.test_server_halfclosed.HalfClosedTests.test_without_quit",
        HEARING,
        "        elif not (self.phase in WAITING and self._unread.end_with_quit):\n",
        "        elif self.phase not in WAITING:\n",
    ),
    Guard(
        "tests.test_server_halfclosed.HalfClosedTests.test_asked_for",
        HEARING,
        "@implementer(IPushProducer, IHalfCloseableProtocol)\n",
        "@implementer(IPushProducer)\n",
    ),
    _server("test_rcpt_does_not_overtake_mail", CONVERSATION, ONE_AT_A_TIME, MANY_AT_A_TIME),
    _server("test_answers_keep_their_order", CONVERSATION, ONE_AT_A_TIME, MANY_AT_A_TIME),
    _server("test_the_queue_is_bounded", CONVERSATION, "self.transport.pauseProducing()", "pass"),
    _server(
        "test_starttls_runs_nothing_that_came_with_it",
        PROTOCOL,
        "        elif not self._pipelined():\n            self._hello = Hello.NOT\n",
        "        else:\n            self._hello = Hello.NOT\n",
    ),
    _server(
        "test_starttls_runs_nothing_that_came_before_the_handshake",
        CONVERSATION,
        "        self._begin_tls()\n        self._await(Phase.COMMAND)",
        "        self._await(Phase.COMMAND)",
    ),
    _server(
        "test_starttls_forgets_helo",
        PROTOCOL,
        "            self._hello = Hello.NOT\n            self._end_transaction()\n",
        "            self._end_transaction()\n",
    ),
    _server(
        "test_starttls_forgets_the_transaction",
        PROTOCOL,
        "            self._end_transaction()\n            self._log_out()\n",
        "            self._log_out()\n",
    ),
    _server(
        "test_starttls_forgets_the_login",
        PROTOCOL,
        "            self._end_transaction()\n            self._log_out()\n",
        "            self._end_transaction()\n",
    ),
    _server(
        "test_auth_without_an_argument",
        PROTOCOL,
        '        name, _, initial = rest.partition(b" ")\n',
        '        name, initial = rest.split(None, 1)[0], b""\n',
    ),
    _server(
        "test_auth_is_not_announced_in_the_clear",
        PROTOCOL,
        "            or self._settings.auth_allow_plaintext\n",
        "            or True\n",
    ),
    _server(
        "test_a_refusal_at_the_end_of_data_says_its_reason",
        PROTOCOL,
        "            self._errors.restore()\n        self._send(reply)",
        "            self._errors.restore()\n"
        '        self._send(reply if reply.positive else Reply(550, (b"5.0.0 Could not send",)))',
    ),
    _server(
        "test_a_failure_at_the_end_of_data_is_temporary",
        CONVERSATION,
        "self._answered(answers.LOCAL_FAULT, then)",
        'self._answered(Reply(550, (b"5.0.0 Could not send e-mail",)), then)',
    ),
    _server(
        "test_all_recipients_share_one_message",
        "smtpforward/server/delivery.py",
        "        if self._message is None:",
        "        if True:",
    ),
    _server(
        "test_answers_behind_the_dot_do_not_overtake_it",
        PROTOCOL,
        "            self.phase = Phase.ANSWERING\n            self._data_ended(arrival)",
        "            self.phase = Phase.COMMAND\n            self._data_ended(arrival)",
    ),
    _server(
        "test_size_is_announced_and_heeded",
        PROTOCOL,
        '        b"SIZE %d" % most,\n',
        "",
    ),
    _server("test_pipelining_is_announced", PROTOCOL, OFFERED, ""),
    _server("test_smtputf8_is_announced", PROTOCOL, '        b"SMTPUTF8",\n', ""),
    _server("test_8bitmime_is_announced", PROTOCOL, '        b"8BITMIME",\n', ""),
    _server(
        "test_enhanced_status_codes_are_announced",
        PROTOCOL,
        '        b"ENHANCEDSTATUSCODES",\n',
        "",
    ),
    _server("test_chunking_is_announced", PROTOCOL, '        b"CHUNKING",\n', ""),
    _server(
        "test_mail_parameters_are_not_dropped",
        PROTOCOL,
        "self._mail_answered, path.address, path.parameters)",
        "self._mail_answered, path.address, {})",
    ),
    _server(
        "test_mail_parameters_that_are_not_offered_are_refused",
        "smtpforward/server/parameters.py",
        "            return answers.UNKNOWN_PARAMETER",
        "            continue",
    ),
    _server(
        "test_the_helo_argument_is_checked",
        PROTOCOL,
        'if not name or not name.isascii() or not name.decode("ascii").isprintable():',
        "if False:",
    ),
    _server("test_noop_is_there", PROTOCOL, "def do_NOOP(", "def do_NOTHING("),
    _server(
        "test_a_byte_over_127_in_a_verb_is_no_command",
        CONVERSATION,
        "    if not command.isalpha():",
        "    if False:",
    ),
    _server(
        "test_a_long_line_does_not_leave_data_mode",
        PROTOCOL,
        "        rest = arrival.feed(data)",
        "        if len(data) > 16384:\n"
        "            self._end_transaction()\n"
        "            self._send(answers.LINE_TOO_LONG)\n"
        "            return\n"
        "        rest = arrival.feed(data)",
    ),
    _server(
        "test_a_command_without_an_end_is_cut_off",
        "smtpforward/server/lines.py",
        "return Breach.ENDLESS if len(unread) - at > limit else None",
        "return None",
    ),
    _server(
        "test_no_control_character_in_a_quoted_local_part",
        "smtpforward/address.py",
        r"[\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\x20-\x7e]",
        r"[^\"\\]|\\.",
    ),
    _server(
        "test_no_bare_cr_or_nul_in_a_command",
        "smtpforward/server/lines.py",
        r'if not line.endswith(b"\r\n") or b"\0" in line or line.find(b"\r") != len(line) - 2:',
        r'if not line.endswith(b"\r\n"):',
    ),
    _server(
        "test_no_bare_lf_reaches_the_message",
        END_OF_DATA,
        r'self.bare_lf = "\n" in kinds',
        "pass",
    ),
    _server(
        "test_no_bare_cr_reaches_the_message",
        END_OF_DATA,
        r'self.bare_cr = "\r" in kinds',
        "pass",
    ),
    _server("test_nothing_goes_through_the_legacy_log", FACTORY, "noisy = False", "noisy = True"),
    _around(
        "test_the_factory_speaks_esmtp",
        FACTORY,
        "protocol: Any = GatewaySMTP",
        "protocol: Any = staticmethod(lambda settings, session, clock: smtp.SMTP())",
    ),
    _around(
        "test_the_timeout_of_the_settings_holds",
        CONVERSATION,
        "        self._watch.arm(self._data_patience if phase is Phase.DATA else self._patience)\n",
        "        self._watch.arm(600)\n",
    ),
    _around("test_a_close_ends", CONVERSATION, "self._watch.arm(CLOSE_DEADLINE)", "pass"),
    _around(
        "test_timers_do_not_follow_the_wall_clock",
        "smtpforward/net/clock.py",
        "reactor.seconds = time.monotonic",
        "reactor.seconds = time.time",
    ),
    _around(
        "test_a_taken_port_stops_the_start",
        GATEWAY,
        "listening(place, self.factory, reactor).setServiceParent(self)",
        "service = listening(place, self.factory, reactor)\n"
        "            service._raiseSynchronously = False\n"
        "            service.setServiceParent(self)",
    ),
    Guard(
        "tests.test_net_listening.WaitingTests.test_waiting",
        "smtpforward/net/listening.py",
        'f"{description}:backlog={BACKLOG}"',
        "description",
    ),
    _around(
        "test_wrong_settings_exit_with_78",
        SERVICE,
        "            print(problem, file=sys.stderr)\n        sys.exit(EX_CONFIG)",
        '            print(problem, file=sys.stderr)\n        raise usage.UsageError("wrong")',
    ),
    _around(
        "test_haproxy_endpoints_are_not_taken",
        "smtpforward/config/listen.py",
        '    "systemd": ("domain", "index", "name"),',
        '    "systemd": ("domain", "index", "name"),\n    "haproxy": ("wrapped",),',
    ),
    _haraka(
        "test_lf_dot_crlf_is_no_end_of_data",
        END_OF_DATA,
        r'_MARK = b"\r\n" + END',
        r'_MARK = b"\n" + END',
    ),
    _haraka(
        "test_the_rest_of_a_refused_body_does_not_run",
        PROTOCOL,
        "        elif arrival.hopeless and arrival.refusal is not None:\n"
        "            self._cut_off(self._discarded(arrival.refusal))",
        "        elif arrival.refusal is not None:\n"
        "            self._message_answered(arrival.refusal)",
    ),
    _haraka(
        "test_two_ports_of_one_host_are_two_routes",
        "smtpforward/routing.py",
        "elif way != taken:",
        "elif way.next_hop.servers[0].host != taken.next_hop.servers[0].host:",
    ),
    _haraka(
        "test_a_backend_that_drops_is_answered_at_once",
        ANSWERS,
        '    Event.DROPPED: _reply(451, "4.4.1 the next server broke off, try again later"),\n',
        "",
    ),
    _haraka("test_a_535_of_the_backend_bounces_nothing", ANSWERS, "534, 535, 538", "534, 538"),
    # A session that raises where nobody waits for it.
    _own_fault(
        "ExceptionTests.test_reset",
        PROTOCOL,
        "a 250 most of all.\n            self._session_failed(Failure())\n",
        "a 250 most of all.\n            raise\n",
    ),
    _own_fault(
        "ExceptionTests.test_discarded",
        "smtpforward/server/chunking.py",
        "            self._session_failed(Failure())\n            return answers.LOCAL_FAULT\n",
        "            raise\n",
    ),
    # The wall clock.
    _own_fault(
        "WallClockTests.test_set_forward_and_back",
        "smtpforward/service.py",
        "    make_monotonic(reactor)\n",
        "",
    ),
]
