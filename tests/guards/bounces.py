"""The guards of delivery status notifications."""

from tests.guards import Guard

OUTBOUND = "smtpforward/outbound"


def _bounce(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_outbound_bounce.{test}", f"{OUTBOUND}/{file}", before, after)


def _notify(test: str, before: str, after: str) -> Guard:
    where = f"tests.test_outbound_notify.WantedTests.{test}"
    return Guard(where, f"{OUTBOUND}/notify.py", before, after)


def _returned(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_outbound_returned.{test}", f"{OUTBOUND}/{file}", before, after)


def _status(test: str, file: str, before: str, after: str) -> Guard:
    return Guard(f"tests.test_outbound_status.{test}", f"{OUTBOUND}/{file}", before, after)


GUARDS = [
    _notify("test_null_sender", "if not sender.local:", "if False:"),
    _notify("test_table", ' and b"NEVER" not in words', ""),
    _bounce("EnvelopeTests.test_to_the_sender", "bounce.py", "(NULL_SENDER, (Rec", "(to, (Rec"),
    _bounce("EnvelopeTests.test_eight_bits", "bounce.py", "if not mail.isascii():", "if False:"),
    _bounce("EnvelopeTests.test_utf8", "bounce.py", "if not to.path.isascii():", "if False:"),
    _bounce("EnvelopeTests.test_utf8", "bounce.py", "sender.in_ascii() or sender", "sender"),
    _bounce("ReturnedTests.test_table", "bounce.py", "return failed and ", "return "),
    _bounce("ReturnedTests.test_table", "bounce.py", 'b"").upper() != ', 'b"") != '),
    _bounce(
        "ReturnedTests.test_boundary_in_the_message",
        "parts.py",
        "while any(boundary in part for part in flat):",
        "while False:",
    ),
    _returned("WholeTests.test_wire_form", "returned.py", ".plain():", ".wire():"),
    _returned("WholeTests.test_largest", "returned.py", " <= MAX_WHOLE ", " "),
    _returned("WholeTests.test_what_no_mail_may_hold", "returned.py", " and header.isascii()", ""),
    _returned("WholeTests.test_what_no_mail_may_hold", "returned.py", " and is_mail(start)", ""),
    _returned("WholeTests.test_what_no_mail_may_hold", "parts.py", 'b"\\0" not in data and ', ""),
    _returned(
        "HeaderTests.test_encoded", "parts.py", "if text.isascii() and is_mail(text):", "if True:"
    ),
    _returned(
        "HeaderTests.test_huge",
        "returned.py",
        "pieces.append(piece[:room])",
        "pieces.append(piece)",
    ),
    _returned("HeaderTests.test_only_so_much_is_read", "returned.py", "if room <= 0:", "if False:"),
    _status("DiagnosticTests.test_hostile", "wording.py", "text = printable(", "text = str("),
    _status("DiagnosticTests.test_hostile", "status.py", "map(in_ascii, said(", "map(str, said("),
    _status("DiagnosticTests.test_endless", "wording.py", "if len(text) > room:", "if False:"),
    _status("DiagnosticTests.test_long", "wording.py", '_TOO_LONG.sub(r"\\g<0> ", text)', "text"),
    _status(
        "MessageTests.test_bad_envelope_ids",
        "status.py",
        "plain.isascii() and plain.isprint",
        "plain.isprint",
    ),
    _status("MessageTests.test_bad_envelope_ids", "status.py", "plain.isprintable() and ", ""),
    _status(
        "StatusTests.test_given_up", "status.py", '"4.4.7" if given == "4.0.0" else given', "given"
    ),
    _status(
        "StatusTests.test_other_class",
        "status.py",
        "given if given.startswith(expected) else ",
        "given or ",
    ),
    _bounce(
        "StatusTests.test_many_who_say_a_lot",
        "wording.py",
        "min(MAX_REPLY, MAX_REPLIES // count)",
        "MAX_REPLY",
    ),
    Guard(
        "tests.test_client_session.DsnTests.test_told",
        "smtpforward/client/session.py",
        "if recipient.parameters else False",
        "if True else False",
    ),
]
