"""The guards of what the commands show, send and put together."""

from tests.guards import Guard

SEND = "smtpforward/commands/send.py"
VIEW = "smtpforward/commands/status/view.py"
EVENT = "smtpforward/commands/trace/event.py"
FILES = "smtpforward/commands/trace/files.py"
API = "smtpforward/commands/api.py"
POSTFIX = "smtpforward/formats/as_postfix.py"
SENDING = "tests.integration.test_send_command.SendTests"
TRACE = "tests.test_commands_trace"

GUARDS = [
    # A password for another server.
    Guard(
        f"{SENDING}.test_route",
        SEND,
        "port=port or first.port, credentials=None)",
        "port=port or first.port)",
    ),
    Guard(f"{SENDING}.test_message", SEND, '    if b"\\r" in data:\n', "    if False:\n"),
    Guard(
        "tests.test_commands_status.ViewTests.test_all",
        VIEW,
        "{printable(reason)}",
        "{reason}",
    ),
    Guard(
        "tests.integration.test_status_command.StatusTests.test_login",
        API,
        "if passwords.is_hash(told.password):",
        "if False:",
    ),
    Guard(
        f"{TRACE}.StoryTests.test_no_doubles",
        EVENT,
        "if set(self.sources) & set(other.sources) or ",
        "if ",
    ),
    Guard(
        f"{TRACE}.StoryTests.test_doubles",
        EVENT,
        "abs(self.at - other.at) > APART",
        "self.at != other.at",
    ),
    Guard(
        f"{TRACE}.FilesTests.test_rotated",
        FILES,
        "found.setdefault(os.path.realpath(path), ",
        "found.setdefault(name + path, ",
    ),
    Guard(
        "tests.integration.test_trace_command.TraceTests.test_refused",
        POSTFIX,
        'named = f" id={facts[\'id\']}" if command in ABOUT else ""',
        'named = ""',
    ),
]
