"""The guards of what is shown of a dialogue: no password, and no word of a message."""

from tests.guards import Guard

DIALOGUE = "smtpforward/dialogue.py"
FACTORY = "smtpforward/server/factory.py"
TARGET = "smtpforward/client/target.py"
TESTS = "tests.test_dialogue.DialogueTests"
PROCESS = "tests.integration.test_debug_session.DebugSessionTests"

GUARDS = [
    Guard(
        f"{TESTS}.test_password_at_the_wrong_moment",
        DIALOGUE,
        "if name not in COMMANDS:",
        "if not name:",
    ),
    Guard(
        f"{TESTS}.test_plain",
        DIALOGUE,
        "                text = text.replace(secret, BLANK.encode())\n",
        "                pass\n",
    ),
    Guard(
        f"{TESTS}.test_message_before_its_time",
        DIALOGUE,
        'if name in (b"DATA", b"AUTH", b"STARTTLS"):',
        'if name in (b"AUTH", b"STARTTLS"):',
    ),
    Guard(
        f"{TESTS}.test_endless",
        DIALOGUE,
        "if len(self._unread) > MAX_UNREAD:",
        "if len(self._unread) > 100 * MAX_UNREAD:",
    ),
    Guard(
        f"{PROCESS}.test_client",
        FACTORY,
        "if debug is not None and ip in debug.clients:",
        "if debug is not None:",
    ),
    Guard(
        f"{PROCESS}.test_option_and_reload",
        TARGET,
        "            self._pools[server].renew()\n",
        "            pass\n",
    ),
]
