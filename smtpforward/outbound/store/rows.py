"""Between the values of the queue and what the columns of a store's tables hold.

Shared by the stores: numbers and text only. Envelopes, indices of recipients and the history are
JSON in ASCII, without loss: bytes that are no UTF-8 become lone surrogates there, as ``\\udcXX``.
What is searched for is text of its own: addresses in the form in which they compare, each between
two line ends, which no address holds.

Failure policy: what is no JSON of ours raises ValueError, KeyError or TypeError.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from attrs import frozen

from smtpforward.envelope import NULL_SENDER, Address, Envelope, Recipient, mailbox
from smtpforward.outbound.entry import Attempt, Message, RecipientResult, State

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_decode = json.JSONDecoder().decode
NULL = "<>"
ASKED = 0  # when an entry is due that an operator has asked for


# -- envelopes


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _texts(parameters: Mapping[bytes, bytes]) -> dict[str, str]:
    return {_text(keyword): _text(value) for keyword, value in parameters.items()}


def _parameters(texts: dict[str, str]) -> dict[bytes, bytes]:
    return {_bytes(keyword): _bytes(value) for keyword, value in texts.items()}


def envelope_text(envelope: Envelope) -> str:
    """``[local, domain, parameters, [[local, domain, parameters], ...]]``, the sender first."""
    sender = envelope.sender
    recipients = [
        (_text(each.address.local), _text(each.address.domain), _texts(each.parameters))
        for each in envelope.recipients
    ]
    return _encode(
        (_text(sender.local), _text(sender.domain), _texts(envelope.parameters), recipients)
    )


@lru_cache(maxsize=64)  # a message to many destinations is claimed as many times
def envelope_of(text: str) -> Envelope:
    """The envelope that became ``text``."""
    local, domain, parameters, recipients = _decode(text)
    return Envelope(
        Address(_bytes(local), _bytes(domain)) if local else NULL_SENDER,
        tuple(
            Recipient(Address(_bytes(local), _bytes(domain)), _parameters(texts))
            for local, domain, texts in recipients
        ),
        _parameters(parameters),
    )


# -- messages

MESSAGE_COLUMNS = "id, received, sender, envelope, size, origin"
MessageRow = tuple[str, float, str, str, int, str]


def message_row(message: Message) -> MessageRow:
    """The columns of ``MESSAGE_COLUMNS``; ``sender`` is for searches alone."""
    envelope = message.envelope
    return (
        *(message.id, message.received, searchable((envelope.sender,)), envelope_text(envelope)),
        *(message.size, message.origin),
    )


def message_of(row: Sequence[Any]) -> Message:
    """The message whose columns are ``MESSAGE_COLUMNS``."""
    id_, received, _, envelope, size, origin = row
    return Message(id_, received, envelope_of(envelope), size, origin)


# -- recipients of an entry


def indices_text(indices: Iterable[int]) -> str:
    """A JSON list of numbers."""
    return f"[{','.join(map(str, indices))}]"


def indices_of(text: str) -> tuple[int, ...]:
    """The numbers of a JSON list."""
    return tuple(_decode(text))


@frozen
class Standing:
    """What has become of an entry's recipients: indices in the message, in order."""

    queued: tuple[int, ...]
    delivered: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()

    @classmethod
    def of(cls, queued: str, delivered: str, failed: str) -> "Standing":
        """The standing whose columns these are."""
        return cls(indices_of(queued), indices_of(delivered), indices_of(failed))

    @property
    def columns(self) -> tuple[str, str, str]:
        """``queued``, ``delivered``, ``failed``: a JSON list of numbers each."""
        return (
            *(indices_text(self.queued), indices_text(self.delivered)),
            indices_text(self.failed),
        )

    def after(self, results: Iterable[RecipientResult]) -> "Standing":
        """The standing after an attempt: what is final stays so, whatever a late result says."""
        said = {result.index: result.state for result in results}

        def all_(state: State, already: tuple[int, ...]) -> tuple[int, ...]:
            new = (i for i in self.queued if said.get(i, State.QUEUED) is state)
            return tuple(sorted((*already, *new)))

        return Standing(
            all_(State.QUEUED, ()),
            all_(State.DELIVERED, self.delivered),
            all_(State.FAILED, self.failed),
        )

    def given_up(self) -> "Standing":
        """The standing after an operator has deleted the entry."""
        return Standing((), self.delivered, tuple(sorted((*self.failed, *self.queued))))


def states_of(count: int, standings: Iterable[Standing]) -> tuple[State, ...]:
    """One state for each of ``count`` recipients; one of no entry has its mail already."""
    states = [State.DELIVERED] * count
    for standing in standings:
        for index in standing.queued:
            states[index] = State.QUEUED
        for index in standing.failed:
            states[index] = State.FAILED
    return tuple(states)


def of_indices(envelope: Envelope, indices: Iterable[int]) -> tuple[Recipient, ...]:
    """The recipients with these indices."""
    return tuple(envelope.recipients[index] for index in indices)


# -- history


def results_text(results: Iterable[RecipientResult]) -> str:
    """``[[[index, ...], state, reply], ...]``: those that came to the same stand together."""
    groups: dict[tuple[str, str], list[int]] = {}
    for result in results:
        groups.setdefault((result.state.value, result.reply), []).append(result.index)
    return _encode([(indices, *key) for key, indices in groups.items()])


def deferral_text(reply: str) -> tuple[str, str]:
    """What stands before and after an entry's column ``queued`` in the results of a deferral."""
    return "[[", f",{_encode(State.QUEUED.value)},{_encode(reply)}]]"


def attempt_of(at: float, took: float, peer: str, results: str) -> Attempt:
    """The attempt whose columns these are."""
    found = [
        RecipientResult(index, State(state), reply)
        for indices, state, reply in _decode(results)
        for index in indices
    ]
    return Attempt(at, took, peer, tuple(sorted(found, key=lambda result: result.index)))


def last_reply(results: Sequence[RecipientResult]) -> str:
    """What a list shows of an attempt: why the first of those that stay does."""
    staying = [result.reply for result in results if result.state is State.QUEUED]
    return storable(next(iter(staying or [result.reply for result in results]), ""))


# -- searches


def searchable(addresses: Iterable[Address]) -> str:
    """The addresses as text in which :func:`sought` finds one: line end, address, line end ..."""
    return "\n".join(("", *map(_comparable, addresses), ""))


def _comparable(address: Address) -> str:
    local = address.local
    if not local:
        return NULL
    if local.isascii() and not local.startswith(b'"'):
        return _mailbox(local.decode("ascii").lower(), address.host)
    return _mailbox(_folded(_text(local)), address.host)


def sought(wanted: str) -> str:
    """What stands in the :func:`searchable` text of an address that ``wanted`` names.

    :param wanted: as a :class:`~smtpforward.outbound.entry.Filter` has it: an address, a domain as
        ``@example.com``, or ``<>``.
    """
    local, at, domain = wanted.rpartition("@")
    if not at:
        return f"\n{NULL if wanted == NULL else _folded(wanted)}\n"
    wanted = f"{_folded(local)}@{_host(domain)}\n"
    return f"\n{wanted}" if local else wanted


def _mailbox(local: str, host: str) -> str:
    return f"{local}@{host}" if host else local


def _folded(local: str) -> str:
    return storable(mailbox(local, "")[:-1])


def storable(text: str) -> str:
    """Text that every database takes: no lone surrogates, no NUL."""
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")


def _host(domain: str) -> str:
    try:
        return Address(b"a", domain.encode("utf-8", "surrogateescape")).host
    except ValueError:  # no domain: nothing is found
        return domain.lower()
