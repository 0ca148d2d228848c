"""The guards of ``smtpforward queue``: what would show, delete or break too much."""

from tests.guards import Guard

COMMAND = "smtpforward/commands/queue/command.py"
ACTIONS = "smtpforward/commands/queue/actions.py"
TEXT = "smtpforward/commands/queue/as_text.py"
JSON = "smtpforward/outbound/as_json.py"
LOOKING = "smtpforward/outbound/looking.py"
HEADER = "smtpforward/outbound/header.py"
OUTPUT = "smtpforward/commands/queue/output.py"
TESTS = "tests.test_commands_queue"
WORDS = "tests.test_commands_queue_words"
PROCESS = "tests.integration.test_queue_command"

GUARDS = [
    # More than was meant.
    Guard(
        f"{TESTS}.ArgumentsTests.test_which",
        COMMAND,
        "    if not chosen and not asked.all:\n",
        "    if False:\n",
    ),
    Guard(
        f"{TESTS}.ArgumentsTests.test_which",
        COMMAND,
        "    if chosen and asked.all:\n",
        "    if False:\n",
    ),
    Guard(
        f"{TESTS}.ArgumentsTests.test_delete_unseen",
        COMMAND,
        "is False and not sys.stdin.isatty()",
        "is None",
    ),
    Guard(
        f"{TESTS}.ChangeTests.test_confirmed",
        ACTIONS,
        "            return EX_NOT_CONFIRMED\n",
        "",
    ),
    Guard(
        f"{TESTS}.ChangeTests.test_missing",
        ACTIONS,
        "    missing = await _absent(store, which.ids)\n",
        "    missing: list[str] = []\n",
    ),
    Guard(
        f"{PROCESS}.TerminalTests.test_interrupt",
        OUTPUT,
        "    before = signal.signal(signal.SIGINT, signal.default_int_handler)\n",
        "    before = signal.getsignal(signal.SIGINT)\n",
    ),
    # A store of the wrong user's.
    Guard(
        f"{TESTS}.ExitCodeTests.test_not_there_yet",
        COMMAND,
        "return path != address and not os.path.exists(path)",
        "return False",
    ),
    # What is shown.
    Guard(
        f"{WORDS}.HeaderTests.test_no_empty_line",
        HEADER,
        "        if not _FIELD.match(line) and",
        "        if False and",
    ),
    Guard(
        f"{WORDS}.HeaderTests.test_visible",
        HEADER,
        '"\\t".join(map(printable, decoded(line).split("\\t")))',
        "decoded(line)",
    ),
    Guard(
        f"{WORDS}.ListTextTests.test_no_forged_line",
        TEXT,
        "printable(entry.last)",
        "entry.last",
    ),
    Guard(
        f"{WORDS}.JsonTests.test_dumped",
        JSON,
        "ensure_ascii=True",
        "ensure_ascii=False",
    ),
    # What is written.
    Guard(
        f"{PROCESS}.TroubleTests.test_full_disk",
        OUTPUT,
        "            os.dup2(os.open(os.devnull, os.O_WRONLY), self.out.fileno())\n",
        "",
    ),
    Guard(
        f"{TESTS}.ListTests.test_pages",
        LOOKING,
        "        after = page[-1]\n",
        "        after = page[0]\n",
    ),
]
