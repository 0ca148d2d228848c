"""Every event to its SMTP answer, in this one place.

First the edge's own replies to commands, then the answers to a hand-over. Rules: a backend's answer
travels with code, enhanced code and text; what speaks of the gateway's set-up and not of the mail
never bounces it; the unforeseen is temporary. An answer of the gateway's own about a transaction
ends with the transaction's id.
"""

from collections.abc import Sequence

from smtpforward.address import Fault
from smtpforward.job import Event, Outcome
from smtpforward.reply import Reply


def _reply(code: int, text: str) -> Reply:
    return Reply(code, (text.encode("ascii"),))


# To commands.
OK = _reply(250, "2.0.0 OK")
SENDER_OK = _reply(250, "2.1.0 sender OK")
RECIPIENT_OK = _reply(250, "2.1.5 recipient OK")
GO_AHEAD = _reply(354, "send the message, end it with <CRLF>.<CRLF>")
BYE = _reply(221, "2.0.0 bye")
HELP = _reply(214, "2.0.0 RFC 5321")
CANNOT_VERIFY = _reply(252, "2.1.5 send mail, and it will be tried")
UNRECOGNIZED = _reply(500, "5.5.1 command not recognized")
NOT_OFFERED = _reply(502, "5.5.1 command not offered")
LINE_TOO_LONG = _reply(500, "5.5.2 line too long")
BARE_NEWLINE_IN_COMMAND = _reply(500, "5.5.2 bare CR, bare LF or NUL in a command")
BAD_HELO = _reply(501, "5.5.4 a host name is needed")
HELO_FIRST = _reply(503, "5.5.1 send EHLO or HELO first")
NESTED_MAIL = _reply(503, "5.5.1 a transaction is in progress already")
MAIL_FIRST = _reply(503, "5.5.1 send MAIL first")
RCPT_FIRST = _reply(503, "5.5.1 no valid recipients")
IMPROPER_PIPELINING = _reply(503, "5.5.1 improper command pipelining")
CHUNKS_BEGUN = _reply(503, "5.5.1 chunks have begun: BDAT LAST or RSET ends them")
BAD_CHUNK = _reply(501, "5.5.4 BDAT needs a number of octets, and nothing else but LAST")
NO_PARAMETERS = _reply(501, "5.5.4 this command takes no parameters")
UNKNOWN_PARAMETER = _reply(555, "5.5.4 parameter not recognized or not offered")
BAD_PARAMETER = _reply(501, "5.5.4 bad value of a parameter")
TOO_MANY_RECIPIENTS = _reply(452, "4.5.3 too many recipients, send the rest in another transaction")
TOO_LARGE = _reply(552, "5.3.4 message too large")
HEADER_TOO_LARGE = _reply(552, "5.3.4 the message's header is too large")
TOO_MANY_CONNECTIONS = _reply(421, "4.3.2 too many connections, try again later")
TOO_MANY_FROM_HERE = _reply(421, "4.7.0 too many connections from your address")
TOO_MANY_ERRORS_FROM_HERE = _reply(421, "4.7.0 too many errors from your address, try again later")
TOO_MANY_ERRORS = _reply(421, "4.7.0 too many errors")
TOO_MANY_UNRECOGNIZED = _reply(521, "5.5.1 too many commands that are not recognized")
IDLE_TOO_LONG = _reply(421, "4.4.2 idle for too long")
SHUTTING_DOWN = _reply(421, "4.3.2 shutting down")
BARE_NEWLINE = _reply(554, "5.6.0 bare CR or LF in the message")
SPOOL_FULL = _reply(452, "4.3.1 cannot store the message now")
LOCAL_FAULT = _reply(451, "4.3.0 local error, try again later")
START_TLS = _reply(220, "2.0.0 ready to start TLS")
TLS_ALREADY = _reply(503, "5.5.1 TLS is on already")
LOGGED_IN = _reply(235, "2.7.0 logged in")
EHLO_FIRST = _reply(503, "5.5.1 send EHLO first")
LOGIN_ALREADY = _reply(503, "5.5.1 logged in already")
NO_LOGIN_NOW = _reply(503, "5.5.1 no login within a transaction")
TLS_FIRST = _reply(538, "5.7.11 a login needs TLS: send STARTTLS first")
MECHANISM_NEEDED = _reply(501, "5.5.4 a mechanism is needed")
UNKNOWN_MECHANISM = _reply(504, "5.5.4 mechanism not offered")
NO_INITIAL_RESPONSE = _reply(501, "5.5.4 with this mechanism the server speaks first")
LOGIN_ABORTED = _reply(501, "5.7.0 login given up")
BAD_LOGIN = _reply(501, "5.5.2 bad base64, or not what the mechanism asks for")
LOGIN_LINE_TOO_LONG = _reply(500, "5.5.6 line too long: the login is given up")
LOGIN_FAILED = _reply(535, "5.7.8 wrong user name or password")
LOGIN_FAILED_AGAIN = _reply(421, "4.7.0 too many failed logins")
NO_LOGINS_FROM_HERE = _reply(454, "4.7.0 too many failed logins from here, try again later")
LOGIN_FAULT = _reply(454, "4.7.0 the login cannot be checked now, try again later")
LOGIN_FIRST = _reply(530, "5.7.0 log in first")
LOOPING = _reply(554, "5.4.6 too many Received lines: the message is looping")

# To senders and recipients.
NO_RELAYING = _reply(550, "5.7.1 mail for this domain is not accepted here")
SPOOFED_SENDER = _reply(550, "5.7.1 this sender's mail comes from its own servers only")
FOREIGN_SENDER = _reply(550, "5.7.1 this login sends only from its own domain")
NO_SOURCE_ROUTES = _reply(550, "5.7.1 routing characters in the local part")
ONE_RECIPIENT = _reply(452, "4.5.3 one recipient at a time: send this one in the next transaction")
NO_QUEUE = _reply(451, "4.3.5 mail on this way cannot be taken yet")
OTHER_ROUTE = _reply(452, "4.5.3 another route: send this recipient in the next transaction")

# The rules of the gateway's own that refuse senders, recipients, messages and clients, in words
# that stand in logs and metrics.
RULES = {
    NO_RELAYING: "relaying",
    SPOOFED_SENDER: "check_sender",
    FOREIGN_SENDER: "constrain_sender",
    NO_SOURCE_ROUTES: "source_route",
    ONE_RECIPIENT: "one_message_per_rcpt",
    OTHER_ROUTE: "split_routes",
    NO_QUEUE: "no_queue",
    TOO_MANY_RECIPIENTS: "recipients",
    TOO_LARGE: "bytes",
    HEADER_TOO_LARGE: "header_bytes",
    BARE_NEWLINE: "bare_newline",
    LOOPING: "max_received",
    SPOOL_FULL: "spool_full",
    TOO_MANY_CONNECTIONS: "connections",
    TOO_MANY_FROM_HERE: "connections_per_ip",
    TOO_MANY_ERRORS_FROM_HERE: "errors_per_ip",
}
LEARNED = "learned"  # the rule by which a backend's earlier refusal is given again
OTHER_RULE = "other"

SENDER_FAULTS = {
    Fault.SYNTAX: _reply(501, "5.1.7 bad sender address syntax"),
    Fault.NON_ASCII: _reply(553, "5.6.7 a sender outside ASCII needs SMTPUTF8"),
    Fault.NO_DOMAIN: _reply(553, "5.1.7 the sender needs a domain"),
    Fault.LENGTH: _reply(501, "5.1.7 the sender address is too long"),
    Fault.PARAMETERS: _reply(501, "5.5.4 bad parameter syntax"),
}
RECIPIENT_FAULTS = {
    Fault.SYNTAX: _reply(501, "5.1.3 bad recipient address syntax"),
    Fault.NON_ASCII: _reply(553, "5.6.7 a recipient outside ASCII needs SMTPUTF8"),
    Fault.NO_DOMAIN: _reply(553, "5.1.3 the recipient needs a domain"),
    Fault.LENGTH: _reply(501, "5.1.3 the recipient address is too long"),
    Fault.PARAMETERS: _reply(501, "5.5.4 bad parameter syntax"),
}

# To a hand-over.
_OWN = {
    Event.UNREACHABLE: _reply(451, "4.4.1 the next server cannot be reached, try again later"),
    Event.DROPPED: _reply(451, "4.4.1 the next server broke off, try again later"),
    Event.IN_DOUBT: _reply(451, "4.4.2 the next server did not confirm the message"),
    Event.NONSENSE: _reply(451, "4.4.2 the next server gave an answer that is none"),
    Event.CLOSING: _reply(451, "4.3.2 the next server takes no mail now, try again later"),
    Event.LOOP: _reply(451, "4.3.5 the next server is this one"),
    Event.TLS: _reply(451, "4.7.5 no secure connection to the next server, try again later"),
    Event.AUTH: _reply(451, "4.7.0 the next server does not let this one in, try again later"),
    Event.POOL_FULL: _reply(451, "4.3.2 all connections to the next server are busy"),
    Event.TOO_LARGE: _reply(552, "5.3.4 message too large for the next server"),
    Event.EIGHT_BIT: _reply(554, "5.6.3 the next server takes only messages of 7-bit text"),
    Event.UTF8: _reply(553, "5.6.7 the next server takes no address or header outside ASCII"),
    Event.QUEUE_FULL: _reply(452, "4.3.1 no space to queue the message, try again later"),
    Event.QUEUE_UNAVAILABLE: _reply(451, "4.3.2 the queue takes no mail now, try again later"),
    Event.NOT_ALLOWED: _reply(451, "4.3.0 the hand-over was broken off, try again later"),
    Event.FAULT: LOCAL_FAULT,
}
_PARTLY_REFUSED = _reply(451, "4.5.3 not all recipients were accepted, send the message again")
_SET_UP = _reply(451, "4.3.5 the next server and this one do not agree, try again later")
SET_UP_EVENTS = frozenset({Event.LOOP, Event.TLS, Event.AUTH})
SET_UP_CODES = frozenset({500, 502, 503, 504, 530, 534, 535, 538})


def rule_of(reply: Reply) -> str:
    """The rule of a refusal of the gateway's own, not signed yet."""
    return RULES.get(reply, OTHER_RULE)


def chunk_taken(octets: int) -> Reply:
    """The answer to a chunk that is not the last."""
    return _reply(250, f"2.0.0 {octets} octets")


def signed(reply: Reply, transaction: str) -> Reply:
    """``reply`` with the transaction's id at its end."""
    if not transaction:
        return reply
    *first, last = reply.lines
    return Reply(reply.code, (*first, last + b" [%b]" % transaction.encode("ascii")))


def speaks_of_set_up(outcome: Outcome) -> bool:
    """Whether the backend's refusal, or its kind, is a fault between it and the gateway."""
    if outcome.event in SET_UP_EVENTS:
        return True
    reply = outcome.reply
    return outcome.event is Event.REFUSED and reply is not None and reply.code in SET_UP_CODES


def to_outcome(outcome: Outcome, transaction: str) -> Reply:
    """What one recipient's outcome means for the sender.

    :raise KeyError: for ``SPARED``, which means nothing without the other recipients.
    """
    reply = outcome.reply
    if outcome.event is Event.ACCEPTED and reply is not None and reply.code == 250:
        return reply.enhanced()
    if speaks_of_set_up(outcome):
        return signed(_OWN.get(outcome.event, _SET_UP), transaction)
    if not outcome.ours:
        assert outcome.reply is not None, "a backend's answer has a reply"
        code = 250 if outcome.event is Event.ACCEPTED else outcome.reply.code
        return Reply(code, outcome.reply.lines).enhanced()
    return signed(_OWN[outcome.event], transaction)


def to_message(outcomes: Sequence[Outcome], transaction: str, partial: str = "learn") -> Reply:
    """The one answer to the end of data, from the outcomes of all recipients.

    :param partial: ``learn`` answers 451 when only some are refused, so that the sender comes back
        with the message; ``reject`` gives the whole message the first refusal.
    """
    if len(outcomes) == 1:
        return to_outcome(outcomes[0], transaction)
    spared = [o for o in outcomes if o.event in (Event.SPARED, Event.ACCEPTED)]
    others = [o for o in outcomes if o.event not in (Event.SPARED, Event.ACCEPTED)]
    if not others:
        return to_outcome(outcomes[0], transaction)
    if spared and partial == "learn" and any(_speaks_of_recipient(o) for o in others):
        return signed(_PARTLY_REFUSED, transaction)
    return to_outcome(_gentlest(others), transaction)


def _speaks_of_recipient(outcome: Outcome) -> bool:
    """Whether it is a refusal that can be learned: the next attempt will be without it."""
    return outcome.event is Event.REFUSED and not speaks_of_set_up(outcome)


def _gentlest(refused: Sequence[Outcome]) -> Outcome:
    """The outcome whose answer loses nothing: a temporary one, if there is one."""
    temporary = (outcome for outcome in refused if not to_outcome(outcome, "").permanent)
    return next(temporary, refused[0])
