"""Log entries of many transactions, as the edge and the queue make them: usual ones, and worse."""

from collections.abc import Callable, Iterator

from smtpforward.content import Content
from smtpforward.envelope import Address, Client, Envelope, Recipient
from smtpforward.job import Delivery, Event, Outcome, Stage
from smtpforward.outbound.entry import Claimed, Message, State
from smtpforward.outbound.lines import Attempted
from smtpforward.outbound.results import Fate
from smtpforward.record import Ended, Entry, Transaction, new_id
from smtpforward.reply import Reply
from tests.support import settings

ROUTE = settings().routes.default
LONG = 490  # a command line has 512 bytes
MANY = 1000


def _address(number: int, filling: int = 0) -> Address:
    return Address(b"user%d" % number + b"x" * filling, b"example-%d.com" % (number % 1000))


def _transaction(number: int, recipients: int = 1, filling: int = 0, helo: int = 20) -> Transaction:
    client = Client("192.0.2.1", number % 65536, "unknown", b"h" * helo, "ESMTP")
    parameters = {b"SIZE": b"%d" % number, b"BODY": b"8BITMIME"}
    made = Transaction(new_id(), client, _address(number, filling), parameters, float(number))
    made.recipients += [Recipient(_address(number + n, filling)) for n in range(recipients)]
    made.routes += [ROUTE] * recipients
    return made


def _ended(made: Transaction, text: int = 60) -> Ended:
    said = Reply(250, (b"2.0.0 Ok: queued as " + b"%08d" % made.started + b"q" * text,))
    peer = f"backend.example.com[192.0.2.{made.started % 250:.0f}]:25"
    made.size = 4096
    made.outcomes = [
        Outcome(one, Event.ACCEPTED, Stage.DOT, said, peer, sent=1.0) for one in made.recipients
    ]
    reply = Reply(250, (bytes(said.lines[0]),))
    assert reply.status
    assert reply.wire()
    return Ended(made, reply, made.started + 0.25)


def usual(number: int) -> Entry:
    """A mail as most are."""
    return _ended(_transaction(number))


def large_usual(number: int) -> Entry:
    """All that still passes for usual, at once."""
    made = _transaction(number, filling=70, helo=100)
    made.parameters[b"ENVID"] = b"e" * 60
    ended = _ended(made, 225)
    [accepted] = made.outcomes
    detail = f"{number:0250}"
    made.outcomes = [
        Outcome(accepted.recipient, Event.REFUSED, Stage.DOT, accepted.reply, accepted.peer, detail)
    ]
    return ended


def refused(number: int) -> Entry:
    """A recipient that a rule refuses."""
    made = _transaction(number)
    return Ended(made, Reply(550, (b"5.7.1 no",)), 1.0, "RCPT", "relaying", "not a domain of ours")


def hostile(number: int) -> Entry:
    """As long as lines may be, and not ASCII."""
    made = _transaction(number, filling=LONG, helo=LONG)
    made.recipients[0] = Recipient(
        Address("ü".encode() * (LONG // 2), b"example.com"), {b"ORCPT": b"o" * LONG}
    )
    return _ended(made, LONG)


def many(number: int) -> Entry:
    """A mailing to a thousand."""
    return _ended(_transaction(number, MANY))


def many_hostile(number: int) -> Entry:
    """Its worst form."""
    return _ended(_transaction(number, MANY, LONG, LONG), LONG)


def attempted(number: int) -> Entry:
    """An attempt for one recipient of a mailing that the queue has, with the content at hand."""
    recipients = tuple(Recipient(_address(number + n)) for n in range(20))
    envelope = Envelope(_address(number), recipients)
    message = Message(new_id(), float(number), envelope, 65536, "x[192.0.2.1]")
    claimed = Claimed(
        *(number, message, "example.com", Delivery.OUTBOUND, tuple(enumerate(recipients))),
        *(0, False),
        content=Content.of_wire(b"%065536d" % number),
    )
    fate = Fate(0, State.QUEUED, Reply(451, (b"4.4.1 later",)), None, "", "no route to host")
    return Attempted(claimed, recipients[0], fate, float(number))


KINDS: dict[str, Callable[[int], Entry]] = {
    "usual": usual,
    "large usual": large_usual,
    "refused": refused,
    "hostile": hostile,
    "many": many,
    "hostile many": many_hostile,
    "attempted": attempted,
}


def entries(count: int, make: Callable[[int], Entry]) -> Iterator[Entry]:
    """``count`` of them."""
    return map(make, range(1, count + 1))
