"""The guards of the status page: what it shows is complete, is text, and does not disturb."""

from tests.guards import Guard

STATIC = "smtpforward/web/static/"
TESTS = "tests.integration.test_page."

GUARDS = [
    Guard(
        TESTS + "ShownTests.test_timeline",
        STATIC + "dom.js",
        "element.textContent = wanted;",
        "element.innerHTML = wanted;",
    ),
    Guard(
        TESTS + "OperatedTests.test_paused",
        STATIC + "live.js",
        'this.source.addEventListener("open", () => this.listeners.open());',
        'this.source.addEventListener("open", () => this.heard || this.listeners.open());',
    ),
    Guard(
        TESTS + "OperatedTests.test_in_place",
        STATIC + "transactions.js",
        "if (this.fresh.length && !this.read()) {",
        "if (this.fresh.length) {",
    ),
    Guard(
        TESTS + "OperatedTests.test_lost",
        STATIC + "live.js",
        "this.due = Date.now() + this.wait;",
        "this.due = 0;",
    ),
    Guard(
        TESTS + "OperatedTests.test_queue",
        STATIC + "queue.js",
        'if (what === "delete" && !(await this.sure(ids))) return;',
        'if (what === "delete") this.sure(ids);',
    ),
]
