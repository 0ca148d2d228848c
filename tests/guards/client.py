"""The guards of the client: ``tests/test_traps_client.py``, ``test_traps_pools.py`` and others."""

from tests.guards import Guard

CONTENT = "smtpforward/content.py"
CLOCK = "smtpforward/net/clock.py"
REPLIES = "smtpforward/client/replies.py"
EXCHANGE = "smtpforward/client/exchange.py"
OPENING = "smtpforward/client/opening.py"
SESSION = "smtpforward/client/session.py"
CONNECT = "smtpforward/client/connect.py"
POOL = "smtpforward/client/pool.py"
TARGET = "smtpforward/client/target.py"
ADDRESSES = "smtpforward/client/addresses.py"
DIAL = "smtpforward/client/dial.py"


def _client(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_traps_client.{test}", file, before, after)


def _dial(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_client_dial.{test}", file, before, after)


def _resting(test: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_client_addresses.{test}", ADDRESSES, before, after)


def _strict(test: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_client_session.Strict8BitTests.{test}", SESSION, before, after)


def _chunk(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_client_chunks.ChunkTests.{test}", file, before, after)


def _allowed(test: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_client_allowed.NotAllowedTests.{test}", SESSION, before, after)


def _pool(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_traps_pools.{test}", file, before, after)


STUFFING = """        stuffed = piece.replace(b"\\n.", b"\\n..")
        yield b"." + stuffed if at_line_start and piece.startswith(b".") else stuffed
        at_line_start = piece.endswith(b"\\n") if piece else at_line_start
"""
STUFFING_PIECES_ALONE = """        stuffed = piece.replace(b"\\n.", b"\\n..")
        yield b"." + stuffed if at_line_start and piece.startswith(b".") else stuffed
        at_line_start = False
"""
STUFFING_ALL_BUT_THE_FIRST_LINE = """        yield piece.replace(b"\\n.", b"\\n..")
"""
STUFFING_WITH_CR = """        yield piece.replace(b"\\n", b"\\r\\n").replace(b"\\n.", b"\\n..")
"""

GUARDS = [
    Guard(
        "tests.test_client_pool.SpareTests.test_never_answered",
        POOL,
        "if self._hopeful:",
        "if False:",
    ),
    *(
        Guard(f"tests.test_client_pool.TurnTests.{test}", POOL, "if self._in_turn:", "if False:")
        for test in ("test_many", "test_many_hopeful")
    ),
    Guard(
        "tests.test_client_pool.TurnTests.test_ends_itself",
        POOL,
        "if returned in self._busy:",
        "if True:",
    ),
    Guard(
        "tests.test_client_pool.EndTests.test_end_while_connecting_to_a_full_server",
        POOL,
        " and self._life is not Life.ENDING:\n            self._limit",
        ":\n            self._limit",
    ),
    Guard(
        "tests.test_net_writethrough.ReadTests.test_commands",
        "smtpforward/net/writethrough.py",
        "len(data) >= SHORT_READ and _takes_much(protocol)",
        "len(data) >= SHORT_READ",
    ),
    Guard(
        "tests.test_client_target.StaleTests.test_spare",
        TARGET,
        "session.messages > 0 or session.spare",
        "session.messages > 0",
    ),
    _chunk(
        "test_never_with_the_envelope",
        EXCHANGE,
        "        if not self._accepted or (self._atomic and self._refused):\n",
        "        if self._data is not None and not self._accepted:\n",
    ),
    _chunk(
        "test_refused",
        EXCHANGE,
        "        self.state = State.DONE if good or self._data is not None else State.BROKEN\n",
        "        self.state = State.DONE\n",
    ),
    _chunk(
        "test_forms",
        CONTENT,
        '(stored.startswith(b".") or b"\\n." in stored)',
        '(b"\\n." in stored)',
    ),
    _chunk("test_forms", CONTENT, "self._form is Form.WIRE and (stored", "(stored"),
    _chunk(
        "test_prefix", CONTENT, "        return self.prefix + stored\n", "        return stored\n"
    ),
    _chunk("test_out_of_step", SESSION, "(State.CHUNK, State.CONTENT,", "(State.CONTENT,"),
    # Twisted, as a client: the data.
    _client(
        "DataTraps.test_dot_at_the_seam_of_two_chunks", CONTENT, STUFFING, STUFFING_PIECES_ALONE
    ),
    _client(
        "DataTraps.test_dot_at_the_seam_of_two_reads", CONTENT, STUFFING, STUFFING_PIECES_ALONE
    ),
    _client(
        "DataTraps.test_dot_in_the_first_line", CONTENT, STUFFING, STUFFING_ALL_BUT_THE_FIRST_LINE
    ),
    _client("DataTraps.test_crlf_stays_crlf", CONTENT, STUFFING, STUFFING_WITH_CR),
    # The dialogue.
    _client(
        "DialogueTraps.test_data_answered_250",
        EXCHANGE,
        "good = code == 354 if stage is Stage.DATA else 250 <= code <= 259",
        "good = True",
    ),
    _client("DialogueTraps.test_250_before_the_dot", EXCHANGE, "if reply.code < 400:", "if False:"),
    _client(
        "DialogueTraps.test_250_with_354",
        SESSION,
        "if not self._last and (commands",
        "if False and (commands",
    ),
    _client(
        "DialogueTraps.test_one_accepted_recipient_is_no_success",
        EXCHANGE,
        "if not self._accepted or (self._atomic and self._refused):",
        "if not self._accepted:",
    ),
    _client(
        "DialogueTraps.test_address_becomes_another",
        EXCHANGE,
        "recipient.address.path, words",
        '__import__("twisted.mail.smtp").mail.smtp.quoteaddr(bytes(recipient.address)), words',
    ),
    _client("DialogueTraps.test_421_to_ehlo", OPENING, "if reply.code == 421:", "if False:"),
    _client(
        "DialogueTraps.test_timeout_after_the_result",
        OPENING,
        "        if self.phase is Phase.OPENING:\n            self.abort()\n",
        "        if True:\n            self.abort()\n",
    ),
    _client(
        "DialogueTraps.test_endless_line",
        REPLIES,
        "if len(self._unread) > MAX_LINE + 1:",
        "if False:",
    ),
    _client(
        "DialogueTraps.test_endless_reply",
        REPLIES,
        "if self._size > MAX_REPLY or len(self._lines) > MAX_REPLY // 64:",
        "if False:",
    ),
    _client(
        "DialogueTraps.test_no_reply_code", REPLIES, "([2-5][0-5][0-9])", "([ +_0-9][0-9_]{2})"
    ),
    # TLS.
    _client(
        "TLSTraps.test_response_injection",
        OPENING,
        "        if self._last or not expected:\n",
        "        if True:\n",
    ),
    _client(
        "TLSTraps.test_half_a_line_injected",
        OPENING,
        "        if self._last or not expected:\n",
        "        if True:\n",
    ),
    _client(
        "TLSTraps.test_offers_from_before_tls",
        OPENING,
        "        self.extensions = _offers(resp)\n",
        "        self.extensions = {**self.__dict__.get('_all', {}), **_offers(resp)}\n"
        "        self._all = self.extensions\n",
    ),
    _client(
        "TLSTraps.test_speaks_before_it_knows_to_whom",
        OPENING,
        "            creator.check_identity()\n",
        "            pass\n",
    ),
    # Logins.
    _client(
        "LoginTraps.test_fixed_order",
        OPENING,
        "self._to_log_in = login.lines(credentials)",
        'self._to_log_in = [b"AUTH CRAM-MD5"]',
    ),
    _client(
        "LoginTraps.test_missing_mechanism",
        OPENING,
        'elif credentials.mechanism.encode("ascii") not in items.get(b"AUTH", b"").split():',
        "elif False:",
    ),
    _client(
        "LoginTraps.test_refused_plain_is_tried_twice",
        OPENING,
        "        self._failresponse = self.esmtpAUTHDeclined\n",
        "        self._failresponse = lambda *_: self.sendLine(line)\n",
    ),
    _client(
        "LoginTraps.test_login_without_end",
        OPENING,
        "self._expected = [334] if self._to_log_in else [235]",
        "self._expected = [334, 235]; self._to_log_in.append(line)",
    ),
    _client(
        "LoginTraps.test_password_in_the_clear",
        OPENING,
        "elif self.security.policy is not TLS.NEVER and self._cover is not Cover.TLS:",
        "elif False:",
    ),
    # Reuse.
    _client(
        "ReuseTraps.test_one_message_per_connection",
        SESSION,
        "            self.owner.idle(self)\n",
        "            self.quit()\n",
    ),
    _client(
        "ReuseTraps.test_idle_connection_is_lost",
        SESSION,
        "            self.owner.gone(self)\n",
        "            pass\n",
    ),
    _client(
        "ReuseTraps.test_idle_connection_speaks",
        SESSION,
        "        if self.phase is Phase.IDLE:\n            # Whatever",
        "        if False:\n            # Whatever",
    ),
    _client(
        "ReuseTraps.test_idle_has_its_own_timer",
        SESSION,
        "        self._watch.disarm()\n        self.phase = Phase.IDLE\n",
        "        self.phase = Phase.IDLE\n",
    ),
    # The factory.
    _client(
        "FactoryTraps.test_lost_connection_fires_nothing",
        SESSION,
        "        if was_opening:\n",
        "        if False:\n",
    ),
    _client(
        "FactoryTraps.test_silent_server_fires_nothing",
        OPENING,
        "        self._await_reply()\n        smtp.ESMTPSender.connectionMade(self)",
        "        smtp.ESMTPSender.connectionMade(self)",
    ),
    _client("FactoryTraps.test_redials_at_once", CONNECT, "retries=0", "retries=5"),
    # Twisted, around them.
    _client(
        "AroundTraps.test_lose_connection_never_ends",
        SESSION,
        "            self._watch.arm(CLOSE_DEADLINE)\n",
        "",
    ),
    _client(
        "AroundTraps.test_reactor_counts_wall_time",
        CLOCK,
        "        reactor.seconds = time.monotonic\n",
        "        pass\n",
    ),
    # Haraka's pool.
    _pool(
        "HarakaPoolTraps.test_redialled_non_stop",
        POOL,
        "        else:\n            waiter.result.errback(error)\n",
        "        else:\n            self._open(waiter)\n",
    ),
    _pool(
        "HarakaPoolTraps.test_given_away_before_the_reply_to_rset",
        SESSION,
        "            self._await_reply()\n            self._report()\n",
        "            self._finish()\n",
    ),
    _pool(
        "HarakaPoolTraps.test_fin_races_with_release",
        POOL,
        "            state.discard(connection)\n        self._idle.discard(connection)\n",
        "            state.discard(connection)\n",
    ),
    _pool(
        "HarakaPoolTraps.test_fin_races_with_release_to_a_waiter",
        POOL,
        "for state in (self._busy, self._closing, self._outdated):",
        "for state in (self._closing, self._outdated):",
    ),
    _pool(
        "HarakaPoolTraps.test_acquire_blocks_for_ever",
        POOL,
        "waiter.timer = self._clock.callLater(delay, self._waited_enough, waiter)",
        "waiter.timer = None",
    ),
    _pool(
        "HarakaPoolTraps.test_key_too_coarse",
        TARGET,
        "self._pools.get(server)",
        "next((p for s, p in self._pools.items() if s.host == server.host), None)",
    ),
    _pool(
        "HarakaPoolTraps.test_session_older_than_the_peer_allows",
        SESSION,
        "now - self._born >= bounds.max_age",
        "False",
    ),
    _pool(
        "HarakaPoolTraps.test_session_ended_by_the_peer",
        TARGET,
        "        if stale and self",
        "        if False and self",
    ),
    _pool(
        "HarakaPoolTraps.test_idle_connections_fill_the_backend",
        POOL,
        "in self._idle.due(self._clock.seconds()):\n            self._retire(connection)\n",
        "in self._idle.due(self._clock.seconds()):\n            pass\n",
    ),
    _pool(
        "HarakaPoolTraps.test_backend_that_allows_few",
        POOL,
        "elif error.full and (self._busy or self._idle) and self._life is not Life.ENDING:",
        "elif False:",
    ),
    # Haraka, as it is today.
    _pool(
        "HarakaTodayTraps.test_two_backends_on_one_host",
        TARGET,
        "self._pools.get(server)",
        "next((p for s, p in self._pools.items() if s.host == server.host), None)",
    ),
    _pool(
        "HarakaTodayTraps.test_drop_is_noticed_late",
        SESSION,
        "        self._fail_exchange(Event.DROPPED, reason.getErrorMessage())\n",
        "",
    ),
    # Other pools.
    _pool(
        "OtherPoolTraps.test_cancelled_when_just_assigned",
        TARGET,
        "            self._session.give_up()\n",
        "            pass\n",
    ),
    _pool(
        "OtherPoolTraps.test_cancelled_while_connecting",
        POOL,
        "        self._connecting.discard(waiter)\n",
        "",
    ),
    _pool(
        "OtherPoolTraps.test_one_after_the_other",
        POOL,
        "return not self._waiting and self._may_connect",
        "return not self._size",
    ),
    Guard(
        "tests.test_client_pool.AtOnceTests.test_burst",
        POOL,
        "return few and self._size < self._limit.now",
        "return self._size < self._limit.now",
    ),
    Guard(
        "tests.test_client_pool.AtOnceTests.test_burst",
        POOL,
        "        if self._waiting:\n            self._serve()\n",
        "",
    ),
    Guard(
        "tests.test_client_pool.AtOnceTests.test_idle_ones_stay",
        POOL,
        "if waiter.fresh and self._idle and self._size >= self._limit.now:",
        "if waiter.fresh and self._idle:",
    ),
    Guard(
        "tests.test_client_target.ServersTests.test_shared",
        "smtpforward/client/hosts.py",
        "sorted(up, key=outstanding)",
        "up",
    ),
    Guard(
        "tests.test_client_body.FileProducerTests.test_short",
        "smtpforward/content.py",
        "            if not piece:\n                raise",
        "            if not piece:\n                return\n                raise",
    ),
    Guard(
        "tests.test_net_writethrough.ReactorTests.test_no_cycle",
        "smtpforward/net/reactor.py",
        "            own.factory = own.transport = None\n",
        "            own.addressFamily = None\n",
    ),
    Guard(
        "tests.test_benchmarks_hotpath.CycleTests.test_none",
        "smtpforward/net/clock.py",
        "        self._expired = _nothing\n",
        "",
    ),
    Guard(
        "tests.test_net_writethrough.ReactorTests.test_tls_aborted",
        "smtpforward/net/writethrough.py",
        "            and not self._aborting\n",
        "",
    ),
    Guard(
        "tests.test_net_writethrough.HeldTests.test_sequence",
        "smtpforward/net/writethrough.py",
        '        self.write(b"".join(iovec))\n',
        "        super().writeSequence(iovec)  # type: ignore[misc]\n",
    ),
    Guard(
        "tests.test_net_writethrough.HeldTests.test_pull_producer",
        "smtpforward/net/writethrough.py",
        "if self.connected and (self.producer is None or self.streamingProducer):",
        "if self.connected:",
    ),
    Guard(
        "tests.test_net_writethrough.HeldTests.test_after_the_log",
        "smtpforward/net/writethrough.py",
        "        if OUTBOX.writes:\n            OUTBOX.write()\n",
        "",
    ),
    Guard(
        "tests.test_net_accepting.AcceptTests.test_out_of_descriptors",
        "smtpforward/net/accepting.py",
        "            tcp.Port.doRead(self)\n",
        "",
    ),
    Guard(
        "tests.test_net_writethrough.WriteTests.test_file_behind_what_waits",
        "smtpforward/net/writethrough.py",
        "if self._tempDataBuffer or self.dataBuffer:\n            raise BlockingIOError",
        "if False:\n            raise BlockingIOError",
    ),
    _pool(
        "OtherPoolTraps.test_one_after_the_first_wave",
        POOL,
        "while self._life is not Life.ENDING and (taken",
        "while not self._busy and (taken",
    ),
    _pool(
        "OtherPoolTraps.test_idle_beyond_the_limit",
        POOL,
        "            if expiry is None or due < expiry:\n",
        "            if False:\n",
    ),
    # A name with several addresses.
    _resting(
        "RestingTests.test_over", "            first.until = now + rest\n", "            pass\n"
    ),
    _resting("BoundedTests.test_lost_by_the_name", "if ip not in there or len", "if len"),
    _resting("BoundedTests.test_not_resolved", "rests is None or not addresses", "rests is None"),
    _resting("BoundedTests.test_names", "if len(self._names) >= MOST_NAMES:", "if False:"),
    _dial("ConnectTests.test_cancelled", DIAL, "if reason.type is not UserError and", "if"),
    _dial("ConnectTests.test_no_descriptor", DIAL, " and not is_our_own(reason):", ":"),
    Guard(
        "tests.test_client_connect.FailedTests.test_no_descriptor",
        CONNECT,
        "Event.FAULT if is_our_own(failure) else Event.UNREACHABLE",
        "Event.UNREACHABLE",
    ),
    Guard(
        "tests.test_client_connect.ConnectTests.test_time_of_the_clock",
        CONNECT,
        "left = purpose.deadline - self._clock.seconds()",
        "left = purpose.deadline - reactor.seconds()",
    ),
    _dial(
        "ConnectTests.test_overtaken",
        DIAL,
        "            if since < at:\n",
        "            if True:\n",
    ),
    _dial("ConnectTests.test_one_address", DIAL, "if len(self._known) > 1 and self", "if self"),
    _dial("ConnectTests.test_deadline", DIAL, "> 1 and self._in_time:", "> 1:"),
    _dial("OpeningTests.test_login", DIAL, "frozenset({Event.AUTH})", "frozenset()"),
    _dial("OpeningTests.test_full", DIAL, "error.full or self._full", "error.full"),
    _dial(
        "OpeningTests.test_full",
        DIAL,
        "if address.host not in self._tried]",
        "]",
    ),
    Guard(
        "tests.test_client_tls.AddressesTests.test_wrong_certificate",
        CONNECT,
        "again = self._security(server) if security.creator is not None else security",
        "again = security",
    ),
    Guard(
        "tests.test_client_session.SpooledTests.test_a_reply_that_begins_before_the_dot",
        SESSION,
        "if not self._reader.empty:",
        "if False:",
    ),
    # 8-bit bytes.
    _strict(
        "test_refused",
        "    if not fits:\n        return exchange.decline(Event.EIGHT_BIT",
        "    if False:\n        return exchange.decline(Event.EIGHT_BIT",
    ),
    _strict("test_not_strict", "strict = job.next_hop.strict_8bit and b", "strict = b"),
    _strict("test_offered", 'strict_8bit and b"8BITMIME" not in self.extensions', "strict_8bit"),
    # What allowed the hand-over has ended.
    _allowed(
        "test_data",
        "if job is not None and job.may_send is not None and not self._is_allowed(job):",
        "if False:",
    ),
    _allowed(
        "test_chunk", "elif self._job.may_send is None or self._is_allowed(self._job):", "else:"
    ),
    _allowed(
        "test_spooled", "            if not self._is_allowed(self._job):", "            if 0:"
    ),
    _allowed(
        "test_while_the_message_is_sent",
        "if job is not None and job.may_send is not None and not self._is_allowed(job):",
        "if pieces and job is not None and not self._is_allowed(job):",
    ),
    Guard(
        "tests.test_client_hosts.KeepTests.test_being_probed",
        "smtpforward/client/hosts.py",
        "            if probing is not None:\n                probing.cancel()\n",
        "            pass\n",
    ),
    # Servers that were looked up, and as many of them as there are.
    Guard(
        "tests.test_client_connect.ConnectTests.test_looked_up_already",
        CONNECT,
        "if server.address is not None or isIPAddress(host)",
        "if isIPAddress(host)",
    ),
    Guard(
        "tests.test_client_tls.FallBackTests.test_bounded",
        CONNECT,
        "if len(self._until) > MOST_CLEAR:",
        "if False:",
    ),
    Guard(
        "tests.test_client_tls.SessionReuseTests.test_bounded",
        "smtpforward/net/tls.py",
        "if len(self._sessions) > MOST_SESSIONS:",
        "if False:",
    ),
    Guard(
        "tests.test_client_rests.PassingRestsTests.test_bounded",
        "smtpforward/client/rests.py",
        "if len(self._rests) > self._most:",
        "if False:",
    ),
    Guard(
        "tests.test_client_rests.PassingRestsTests.test_passes",
        "smtpforward/client/rests.py",
        "if rest is not None and rest.until <= self._clock.seconds():",
        "if False:",
    ),
]
