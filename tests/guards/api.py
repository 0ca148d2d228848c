"""The guards of the API: memory is bounded, other sites change nothing, nobody is held up."""

from tests.guards import Guard

RECENT = "smtpforward/web/recent.py"
ANSWERING = "smtpforward/web/answering.py"
QUEUED = "smtpforward/web/queued.py"
API = "smtpforward/web/api.py"
ORIGIN = "smtpforward/web/origin.py"
EVENTS = "smtpforward/web/events.py"
REQUESTS = "smtpforward/web/requests.py"
QUEUE = "smtpforward/outbound/queue.py"
CHILD = "smtpforward/workers/child.py"


def _origin(before: str, after: str, test: str = "CrossSiteTests.test_not_taken") -> Guard:
    return Guard(f"tests.test_web_origin.{test}", ORIGIN, before, after)


GUARDS = [
    Guard(
        "tests.test_web_recent.RingTests.test_octets",
        RECENT,
        "self.held > bounds.octets or len",
        "len",
    ),
    Guard(
        "tests.test_web_recent.RingTests.test_count",
        RECENT,
        "self.held > bounds.octets or len(entries) > bounds.most",
        "self.held > bounds.octets",
    ),
    Guard(
        "tests.test_web_recent.MemoryTests.test_nothing_else_is_kept",
        RECENT,
        "elif type(entry) is Ended and is_usual(entry):",
        "elif not hasattr(entry, 'command') or is_usual(entry):",
    ),
    Guard(
        "tests.test_web_recent.RecentTests.test_what_is_usual",
        RECENT,
        "or len(client.helo) > USUAL_TEXT",
        "",
    ),
    Guard(
        "tests.test_web_recent.RecentTests.test_long_texts",
        RECENT,
        "        if room < 0:\n            return",
        "",
    ),
    Guard(
        "tests.test_web_recent.RecentTests.test_rings",
        RECENT,
        "ring = self.refusals if entry.command else self.messages",
        "ring = self.messages",
    ),
    Guard(
        "tests.test_web_answering.TransactionsTests.test_search",
        ANSWERING,
        "                    break\n            if number % AT_A_TIME == 0:",
        "                    break\n            if False:",
    ),
    Guard(
        "tests.test_web_answering.QueueTests.test_no_ids",
        QUEUED,
        "        if not ids:",
        "        if False:",
    ),
    Guard(
        "tests.test_web_answering.QueueTests.test_bounded",
        QUEUED,
        "while looked < MOST_LOOKED:",
        "while looked < 2 * MOST_LOOKED:",
    ),
    _origin("if kind != TYPE:", "if False:"),
    _origin('if header(MARK) != "1":', "if False:"),
    _origin('(None, "same-origin")', '(None, "same-origin", "same-site")'),
    _origin("(host is None or _place(origin) != host.lower())", "host is None"),
    _origin('("localhost", me.lower())', '("localhost", name)', "ElsewhereTests.test_others"),
    Guard(
        "tests.test_web_api.APITests.test_no_change",
        API,
        "if not self._overview.may_change:",
        "if False:",
    ),
    Guard(
        "tests.test_web_api.APITests.test_no_change",
        API,
        "        if objection is not None:",
        "        if False:",
    ),
    Guard(
        "tests.test_web_api.APITests.test_other_names",
        API,
        "if not self._guarded and elsewhere",
        "if False and elsewhere",
    ),
    Guard(
        "tests.test_web_api.APITests.test_busy",
        API,
        "        self._answering -= 1",
        "        pass",
    ),
    Guard(
        "tests.test_web_events.EventsTests.test_slow",
        EVENTS,
        "            if listener.is_full:",
        "            if False:",
    ),
    Guard(
        "tests.test_web_events.EventsTests.test_stuck",
        EVENTS,
        "            listener.cut_off()",
        "            pass",
    ),
    Guard(
        "tests.test_web_events.EventsTests.test_one_too_many",
        EVENTS,
        "if len(self._listeners) >= MOST:",
        "if False:",
    ),
    Guard(
        "tests.test_web_requests.BodyTests.test_chunks",
        REQUESTS,
        "if body.tell() + len(data) > LARGEST:",
        "if False:",
    ),
    Guard(
        "tests.test_web_requests.BodyTests.test_announced",
        REQUESTS,
        "if length is not None and length > LARGEST:",
        "if False:",
    ),
    Guard(
        "tests.integration.test_api.QueueTests.test_one_process",
        QUEUE,
        "if self.delivers and self._opened and not self._ending:",
        "if False:",
    ),
    Guard(
        "tests.test_workers_child.AnswerTests.test_fault",
        CHILD,
        "        answering.addErrback(self._no_answer, put.question.kind)\n",
        "",
    ),
]
