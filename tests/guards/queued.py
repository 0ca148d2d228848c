"""The guards of the edge's way to the outbound queue, and of what the queue is told."""

from tests.guards import Guard

ROUTING = "smtpforward/routing.py"
DISPATCH = "smtpforward/dispatch.py"
DELIVERY = "smtpforward/server/delivery.py"
OUTBOUND = "smtpforward/config/outbound.py"
STORE = "smtpforward/config/store.py"
DESTINATIONS = "smtpforward/outbound/destinations.py"
GATEWAY = "smtpforward/gateway.py"


def _split(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_routing.SplitTests.{test}", file, before, after)


def _queue(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_dispatch.QueueTests.{test}", file, before, after)


def _store(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_config_outbound.StoreTests.{test}", file, before, after)


GUARDS = [
    _split("test_strangers", ROUTING, 'split_routes == "defer" or not relaying:',
           'split_routes == "defer":'),
    _split("test_one_recipient", ROUTING, "taken, reasons = SPLIT, (",
           "reasons = ("),
    _split("test_no_queue", ROUTING, "    if taken.next_hop is None and settings.outbound is None:",
           "    if way.next_hop is None and settings.outbound is None:"),
    _queue("test_deliveries", DISPATCH, "way_of(route, client.relaying).delivery",
           "way_of(route, True).delivery"),
    _queue("test_no_queue", DISPATCH,
           "        if self.queue is None:\n            return fail(NoQueueError())\n", ""),
    _queue("test_one_job", DISPATCH, "                atomic=False,\n", ""),
    Guard(
        "tests.test_server_delivery.RoutingDeliveryTests.test_learned_is_not_for_the_queue",
        DELIVERY,
        "        else:\n            learned",
        "        if True:\n            learned",
    ),
    _store("test_neither", STORE, '"is neither sqlite:PATH nor', 'address + " is neither'),
    _store("test_wrong_postgresql", STORE, 'message = "is an', 'message = address + "'),
    _store("test_no_folder", STORE, "    if not os.path.isdir(folder):", "    if False:"),
    _store("test_a_wrong_store_is_one_problem", OUTBOUND, "            if place is not None:",
           "            if place is not None and self.reading.values[MAIN][key]:"),
    Guard(
        "tests.test_service.ListeningTests.test_while_it_ends",
        GATEWAY,
        "            self._places = self._listened_on()\n",
        "            pass\n",
    ),
    Guard(
        "tests.test_service.ApplyTests.test_queue",
        GATEWAY,
        "lasting(self.settings, settings)",
        "settings",
    ),
    Guard(
        "tests.test_service.ApplyTests.test_queue",
        "smtpforward/queueing.py",
        "        self.direct.rebound(outbound.direct.bounds)\n",
        "",
    ),
    Guard(
        "tests.test_workers_parent.SettingsTests.test_queue",
        "smtpforward/workers/parent.py",
        "lasting(old, settings)",
        "settings",
    ),
    Guard(
        "tests.test_outbound_queue.BackoffTests.test_new_settings",
        "smtpforward/outbound/queue.py",
        "            self.destinations.forget_backoffs()\n",
        "            pass\n",
    ),
    Guard(
        "tests.test_outbound_queue.BackoffTests.test_set_up",
        "smtpforward/outbound/handover.py",
        "        if not mx:\n            complain",
        "        if True:\n            complain",
    ),
    Guard(
        "tests.test_outbound_queue.GroupingTests.test_section_of_ours",
        "smtpforward/outbound/places.py",
        "    if not (asked and settings.routes.domain_selector == \"rcpt_to\") and routing",
        "    if routing",
    ),
    Guard(
        "tests.test_client_target.NewRoutesTests.test_rebound",
        "smtpforward/client/target.py",
        "        if self._life is Life.OPEN:\n            for pool",
        "        if True:\n            for pool",
    ),
    Guard(
        "tests.test_config_outbound.SmartHostTests.test_login_without_one",
        OUTBOUND,
        "            self._check_no_login()\n",
        "",
    ),
    Guard(
        "tests.test_service.EndTests.test_what_does_not_end",
        GATEWAY,
        "            await ended.addTimeout(",
        "            await ending.addTimeout(",
    ),
    Guard(
        "tests.test_outbound_queue.EndTests.test_what_has_left_is_waited_for",
        "smtpforward/outbound/leases.py",
        "            self._sent.add(entry)\n",
        "",
    ),
    Guard(
        "tests.test_outbound_queue.TakingTests.test_nothing_is_claimed",
        "smtpforward/outbound/queue.py",
        "        if self.delivers and not claimed:\n",
        "        if self.delivers:\n",
    ),
    Guard(
        "tests.test_outbound_queue.ScheduleTests.test_put_off_meanwhile",
        "smtpforward/outbound/turns.py",
        "self._next_due = min(self._next_due, due)",
        "self._next_due = due",
    ),
    Guard(
        "tests.test_outbound_queue.ScheduleTests.test_due_behind_others",
        "smtpforward/outbound/turns.py",
        "        else:\n            # When more of it falls due, only the store knows.\n",
        "        elif False:\n",
    ),
    Guard(
        "tests.test_outbound_queue.ScheduleTests.test_cannot_be_read_now",
        "smtpforward/outbound/attempt.py",
        "        except StoreError as error:\n            self.log.error(",
        "        except KeyError as error:\n            self.log.error(",
    ),
    Guard(
        "tests.test_outbound_queue.LeaseTests.test_own_lease_has_ended",
        "smtpforward/outbound/turns.py",
        "                if not self._leases.is_known(entry.id):\n",
        "                if True:\n",
    ),
    Guard(
        "tests.test_outbound_queue.LeaseTests.test_duration",
        "smtpforward/outbound/leases.py",
        " - margin > self._store.now()",
        " > self._store.now()",
    ),
    Guard(
        "tests.test_outbound_destinations.AttemptsTests.test_not_reached_yet",
        DESTINATIONS,
        "self.each if destination in self._reached else 1",
        "1 if destination in self._backoffs else self.each",
    ),
]  # fmt: skip
