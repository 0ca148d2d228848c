"""The guards of logs and metrics: nothing is forged, nothing falls, nobody is held up."""

from tests.guards import Guard

POSTFIX = "smtpforward/formats/as_postfix.py"
JSON = "smtpforward/formats/as_json.py"
BOOK = "smtpforward/workers/book.py"
GATHERING = "smtpforward/web/gathering.py"
PAGE = "smtpforward/web/page.py"
LOGIN = "smtpforward/web/login.py"
TARGET = "smtpforward/client/target.py"

GUARDS = [
    Guard(
        "tests.test_logs.ServiceTests.test_in_order",
        "smtpforward/logs.py",
        "[*self._gathering.taken(), text]",
        "[text]",
    ),
    Guard(
        "tests.test_formats.PostfixTests.test_no_forged_lines",
        POSTFIX,
        "{mark}{printable(said)}",
        "{mark}{said}",
    ),
    Guard(
        "tests.test_formats.JSONTests.test_other_events",
        JSON,
        'if facts is None or "mail_line" not in event:',
        "if facts is None:",
    ),
    Guard(
        "tests.test_workers_book.BookTests.test_gone",
        BOOK,
        "self._ended = together([self._ended, _lasting(latest.figures)])",
        "pass",
    ),
    Guard(
        "tests.test_workers_book.BookTests.test_gone",
        BOOK,
        "_lasting(latest.figures)])",
        "latest.figures])",
    ),
    Guard(
        "tests.test_web_gathering.QueueTests.test_slow_store",
        GATHERING,
        "timer = self._clock.callLater(PATIENCE,",
        "timer = self._clock.callLater(1000 * PATIENCE,",
    ),
    Guard(
        "tests.test_web_gathering.QueueTests.test_of_one_process",
        GATHERING,
        " or not queue[0].delivers:",
        ":",
    ),
    Guard(
        "tests.test_web_gathering.ReadyTests.test_very_many_backends",
        GATHERING,
        "if key not in found and len(found) >= MOST:",
        "if False:",
    ),
    Guard(
        "tests.test_web_gathering.ReadyTests.test_backend_down",
        TARGET,
        "loss is not None and self._clock.seconds() < loss.at + DOWN_FOR",
        "loss is not None",
    ),
    Guard(
        "tests.test_web_page.PageTests.test_asker_goes",
        PAGE,
        "request.notifyFinish().addErrback(lambda _: asking.cancel())",
        "pass",
    ),
    Guard(
        "tests.integration.test_metrics.MetricsTests.test_login",
        LOGIN,
        "if not (good and name == self._http.user.encode()):",
        "if not good:",
    ),
]
