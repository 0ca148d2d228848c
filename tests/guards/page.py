"""The guards of the status page: what it shows is complete, is text, and does not disturb."""

from tests.guards import Guard

STATIC = "smtpforward/web/static/"
TESTS = "tests.integration."

GUARDS = [
    Guard(
        TESTS + "test_page.ShownTests.test_timeline",
        STATIC + "dom.js",
        "element.textContent = wanted;",
        "element.innerHTML = wanted;",
    ),
    Guard(
        TESTS + "test_page_use.OperatedTests.test_paused",
        STATIC + "live.js",
        "      this.listeners.open();",
        "      this.heard || this.listeners.open();",
    ),
    Guard(
        TESTS + "test_page_use.OperatedTests.test_in_place",
        STATIC + "transactions.js",
        "if (this.fresh.length && !this.read()) {",
        "if (this.fresh.length) {",
    ),
    Guard(
        TESTS + "test_page_use.OperatedTests.test_lost",
        STATIC + "live.js",
        "this.due = Date.now() + this.wait;",
        "this.due = 0;",
    ),
    Guard(
        TESTS + "test_page_use.OperatedTests.test_queue",
        STATIC + "queue.js",
        'if (what === "delete" && !(await this.sure(ids))) return;',
        'if (what === "delete") this.sure(ids);',
    ),
    Guard(
        TESTS + "test_page_use.OperatedTests.test_no_room",
        STATIC + "live.js",
        "if (!this.taken) this.lookAround();",
        "",
    ),
    Guard(
        TESTS + "test_page.ShownTests.test_long_names",
        STATIC + "page.css",
        "{ font-weight: 600; overflow-wrap: anywhere; min-width: 9.5rem; }",
        "{ font-weight: 600; white-space: nowrap; }",
    ),
]
