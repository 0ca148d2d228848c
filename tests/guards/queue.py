"""The guards of the outbound queue: turns, leases, attempts, what comes of them, who is told."""

from tests.guards import Guard

OUTBOUND = "smtpforward/outbound"


def _guard(module: str, file: str, test: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_{module}.{test}", file, before, after)


def _of(part: str, test: str, before: str, after: str) -> Guard:
    return _guard(f"outbound_{part}", f"{OUTBOUND}/{part}.py", test, before, after)


def _turns(test: str, before: str, after: str) -> Guard:
    return _of("turns", test, before, after)


def _deferral(test: str, before: str, after: str) -> Guard:
    return _guard("outbound_turns", f"{OUTBOUND}/deferral.py", test, before, after)


def _attempt(test: str, before: str, after: str) -> Guard:
    return _of("attempt", test, before, after)


def _handover(test: str, before: str, after: str) -> Guard:
    return _guard("outbound_attempt", f"{OUTBOUND}/handover.py", test, before, after)


def _queue(test: str, before: str, after: str) -> Guard:
    return _guard("outbound_queue", f"{OUTBOUND}/queue.py", test, before, after)


def _bounds(test: str, before: str, after: str) -> Guard:
    return _guard("outbound_queue_bounds", f"{OUTBOUND}/queue.py", test, before, after)


GUARDS = [
    # Whose turn it is: nothing is forgotten.
    _turns(
        "DueTests.test_put_in_at_the_end_of_a_look",
        "            self._again = True\n",
        "            pass\n",
    ),
    _turns(
        "DueTests.test_put_in_at_the_end_of_a_look",
        "        if self._again and failed is None:\n",
        "        if False:\n",
    ),
    _turns(
        "DueTests.test_put_in_while_it_claims",
        "        if asked or len(claimed) == number:\n",
        "        known.has_none_due(destination)\n        if asked or len(claimed) == number:\n",
    ),
    _turns("DueTests.test_put_off_while_it_looks", "min(self._next_due, due)", "due"),
    _turns(
        "DueTests.test_falls_due_after_all_was_leased",
        "            self._unsure = True\n        # It may",
        "            pass\n        # It may",
    ),
    _turns(
        "DueTests.test_looked_for_while_it_looks",
        "        self._more = False\n        found = await self._store.due("
        "BATCH, self._destinations.known_due)\n",
        "        found = await self._store.due(BATCH, self._destinations.known_due)\n"
        "        self._more = False\n",
    ),
    _turns("DueTests.test_too_many_destinations", "self._more |= len(found) == BATCH", "pass"),
    _turns(
        "DueTests.test_looks_no_more_than_it_has_to",
        "        self._next_due = math.inf\n        due",
        "        due",
    ),
    _turns("DueTests.test_at_the_latest", "min(LOOK_AGAIN, ", "max(LEAST_WAIT, "),
    _turns(
        "FairnessTests.test_never_without_mail",
        "if self._more and self._destinations.room and self._destinations.may_learn(BATCH):",
        "if self._more and self._destinations.room and not self._destinations.next():",
    ),
    _turns(
        "BoundTests.test_disabled",
        "            self._next_due = math.inf\n        elif",
        "            pass\n        elif",
    ),
    _turns(
        "BoundTests.test_disabled_while_it_looks",
        "(self._stopped or self._outbound().disabled)",
        "self._stopped",
    ),
    _turns(
        "FailureTests.test_each_call",
        "            known.end(destination, number - len(fresh))",
        "            pass",
    ),
    _turns("FailureTests.test_each_call", "self._store.now() + AFTER_ERROR", "math.inf"),
    _turns(
        "BackoffTests.test_reached_while_it_claims",
        "        # It may have been reached meanwhile, or have failed.\n"
        "        instead = known.backing_off(destination, self._clock.seconds())\n",
        "",
    ),
    _turns(
        "BackoffTests.test_spread",
        "            self._more |= not known.rest(destination)\n",
        "            self._more |= not known.has_due(destination)\n",
    ),
    _turns("BackoffTests.test_hurry", "may_learn(2 * BATCH)", "may_learn(0)"),
    _turns("StopTests.test_while_others_wait", "        self._deferral.stop()\n", ""),
    _turns("BackoffTests.test_spread", "left is Left.MORE", "False"),
    _deferral("BackoffTests.test_spread", "min(self._left, AT_ONCE)", "AT_ONCE"),
    _deferral(
        "BackoffTests.test_spread_over_many",
        "            self._call_again()\n        if",
        "        if",
    ),
    _deferral("BackoffTests.test_spread_over_many", "max(1, number)", "number"),
    _of(
        "destinations",
        "TurnsTests.test_no_longer_resting",
        "            self._ready[destination] = None\n        self._reached",
        "        self._reached",
    ),
    _of("destinations", "TurnsTests.test_no_longer_resting", "        self.rested()\n", ""),
    _turns("BackoffTests.test_last_and_asked_for", "None if entry.asked else instead", "instead"),
    _of(
        "destinations",
        "TurnsTests.test_round",
        "                self._ready.move_to_end(destination)\n",
        "",
    ),
    # A destination that cannot be reached.
    _of(
        "destinations",
        "BackoffTests.test_once_a_round",
        "known is None or known.until <= now",
        "True",
    ),
    _of(
        "destinations",
        "BackoffTests.test_backs_off",
        "self.each if destination in self._reached else 1",
        "self.each",
    ),
    _of(
        "destinations",
        "BackoffTests.test_backs_off",
        "            and destination not in self._backoffs\n",
        "",
    ),
    _queue(
        "BackoffTests.test_shared",
        "            self.destinations.failed(claimed.destination, handed.unreachable, now)\n",
        "",
    ),
    _handover(
        "SeveralPlacesTests.test_one_reached",
        "    if any(part.reached for part in parts):\n",
        "    if False:\n",
    ),
    # Leases.
    _of("leases", "LeasesTests.test_margin", " - margin >", " >"),
    _of("leases", "LeasesTests.test_lost", "lease.until if entry in ours else 0.0", "lease.until"),
    _of(
        "leases",
        "LeasesTests.test_leased_anew_while_renewed",
        "if self._until.get(entry) == until:",
        "if entry in self._until:",
    ),
    _of(
        "leases",
        "LeasesTests.test_stop_while_renewed",
        "if self._until and not self._stopped:",
        "if self._until:",
    ),
    _of("leases", "LeasesTests.test_one_at_a_time", " and self._renewing is None", ""),
    _of(
        "leases",
        "LeasesTests.test_tried_again",
        "why=failure.getErrorMessage())\n        self._again(RETRY_EVERY)",
        "why=failure.getErrorMessage())\n        self._again(RENEW_EVERY)",
    ),
    _handover(
        "OutcomeTests.test_lease_is_asked_for",
        "            may_send=self._leases.leave_for(claimed.id),\n",
        "",
    ),
    _queue(
        "LeaseTests.test_renewed",
        "            self._leases.hold(entry.id, lease)\n",
        "            pass\n",
    ),
    # One attempt, broken off and not.
    _attempt(
        "BrokenOffTests.test_reading",
        "            reading.addCallbacks(Content.close, lambda failure: None)\n",
        "",
    ),
    _attempt(
        "BrokenOffTests.test_recording",
        "                    return await _shielded(recording)\n",
        "                    return await recording\n",
    ),
    _attempt(
        "BrokenOffTests.test_recording_that_fails",
        "            if once:\n",
        "            if False:\n",
    ),
    _attempt(
        "BrokenOffTests.test_giving_back",
        "        except CancelledError:\n            # The store does it all the same.\n"
        "            return NOTHING\n",
        "",
    ),
    _handover(
        "SeveralPlacesTests.test_broken_off_in_between",
        "            if not before:\n                raise\n",
        "            raise\n",
    ),
    _handover(
        "SeveralPlacesTests.test_broken_off_in_between",
        "        if any(part.broken_off for part in before):\n",
        "        if False:\n",
    ),
    _attempt(
        "SeveralPlacesTests.test_broken_off_and_not_recorded",
        "self._record(result, handed.broken_off)",
        "self._record(result, False)",
    ),
    _handover(
        "UnforeseenTests.test_hand_over",
        "            return _for_all(group.recipients, answers.LOCAL_FAULT)\n",
        "            raise\n",
    ),
    _attempt(
        "UnforeseenTests.test_notice",
        "fates, made = results.kept(fates), notices.Made()",
        "made = notices.Made()",
    ),
    _attempt(
        "UnforeseenTests.test_record",
        "            except Exception as error:\n",
        "            except StoreError as error:\n",
    ),
    _attempt(
        "ReadingTests.test_closed_once_sent",
        "            if content is not None:\n                content.close()\n\n",
        "            pass\n\n",
    ),
    _attempt(
        "ReadingTests.test_damaged",
        "except (StoreDamagedError, OSError) as error",
        "except OSError as error",
    ),
    _attempt(
        "OutcomeTests.test_no_attempt", "        if not handed.counted:\n", "        if False:\n"
    ),
    _handover(
        "OutcomeTests.test_instead", "        if instead is not None:\n", "        if False:\n"
    ),
    _guard(
        "outbound_queue",
        f"{OUTBOUND}/attempt.py",
        "EndTests.test_recorded_until_it_is",
        "                self._complain(result, error)\n",
        "                return\n",
    ),
    _guard(
        "outbound_queue",
        f"{OUTBOUND}/attempt.py",
        "ScheduleTests.test_mixed",
        "            made.messages,\n",
        "            (),\n",
    ),
    # What an outcome means.
    _of("results", "FateTests.test_refused", "elif reply.permanent:", "elif False:"),
    _of(
        "results",
        "FateTests.test_last",
        "evolve(fate, state=State.FAILED) if fate.state is State.QUEUED",
        "fate if True",
    ),
    _of("results", "WholeTests.test_counts", "Event.NOT_ALLOWED, ", ""),
    _of("results", "WholeTests.test_out_of_reach", "outcome.stage is not Stage.CONNECT or ", ""),
    _guard(
        "outbound_queue",
        f"{OUTBOUND}/schedule.py",
        "ScheduleTests.test_intervals_exactly",
        "at + intervals[attempts]",
        "at + intervals[0]",
    ),
    # Who is told.
    _of(
        "notices",
        "MadeTests.test_null_sender",
        "    if not message.envelope.sender.local:\n",
        "    if False:\n",
    ),
    _of("notices", "MadeTests.test_delay_once", "late and not claimed.noticed", "late"),
    _of("notices", "MadeTests.test_told_by_the_next_server", "None if fate.dsn else ", ""),
    _of(
        "notices",
        "MadeTests.test_unreadable",
        "        except OSError as error:\n",
        "        except KeyError as error:\n",
    ),
    # Where to.
    _of("places", "PlaceTests.test_in_order", "route.section and route.own_host", "route.section"),
    _of(
        "places",
        "PlaceTests.test_in_order",
        "and routing.is_local(\n        settings.access, recipient.host\n    ):",
        "and False:",
    ),
    _of(
        "places", "PlaceTests.test_postmaster", "    if not recipient.domain:\n", "    if False:\n"
    ),
    _guard(
        "queueing",
        "smtpforward/queueing.py",
        "QueueingTests.test_listened_on",
        "any((every, port) in places for every in EVERY) and ",
        "",
    ),
    _guard(
        "queueing",
        "smtpforward/queueing.py",
        "QueueingTests.test_cannot_be_told",
        "return error.errno not in (",
        "return False and error.errno not in (",
    ),
    # Taking mail.
    _of(
        "accept", "MessageTests.test_copy", "content = job.content.copy()", "content = job.content"
    ),
    _of(
        "accept",
        "EntriesTests.test_as_many_as_any_server_takes",
        "MOST_RECIPIENTS = 100",
        "MOST_RECIPIENTS = 1000",
    ),
    _queue(
        "TakingTests.test_early", "        if self._early is not None:\n", "        if False:\n"
    ),
    _queue(
        "TakingTests.test_store_fails",
        "            self.destinations.end(destination, number)\n",
        "            pass\n",
    ),
    _bounds(
        "TakingTests.test_slow_store",
        "self._writing + job.content.size > self.settings.limits.memory",
        "False",
    ),
    _bounds("TakingTests.test_large_for_the_memory", "if self._writing and self", "if self"),
    _bounds(
        "TakingTests.test_at_once_asks_nothing", "self.delivers and not claimed", "self.delivers"
    ),
    _bounds(
        "TakingTests.test_slot_of_what_cannot_be_written",
        "        self._turns.go_on()\n        return failure",
        "        return failure",
    ),
    _bounds(
        "TakingTests.test_no_descriptor",
        "        except OSError as error:\n",
        "        except KeyError as error:\n",
    ),
    _bounds(
        "EndTests.test_waited_for_no_longer", "        return ended\n", "        return taken\n"
    ),
    _bounds(
        "EndTests.test_leased_while_it_breaks_off",
        "            if self._broken_off\n",
        "            if False\n",
    ),
]
