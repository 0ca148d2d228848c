r"""Backends that write down who was given which message, and by which gateway.

A gateway is known by the address from which it connects (``bind``), so that what a dead one has
still brought is not taken for another's. Messages are looked at as they come and not kept.
"""

import re
import time
from collections import defaultdict
from collections.abc import Iterable

from attrs import frozen

from tests.peers.backend import ScriptedBackend
from tests.peers.conversation import Conversation, Message
from tests.peers.mailings import (
    DOT_LATER,
    DOT_REFUSED,
    LATER,
    REFUSED,
    Mailing,
    fate,
    number_of,
)
from tests.peers.script import END_OF_DATA, GO_AHEAD, STANDARD, TAKEN, Script, Step

RECEIVED = re.compile(rb"(?:Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)*")
FINAL = re.compile(rb"^Final-Recipient: rfc822; *([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
MESSAGE_ID = re.compile(rb"^Message-ID: *([^\r\n]+)", re.MULTILINE | re.IGNORECASE)
UNKNOWN = b"550 5.1.1 no such user\r\n"
FULL = b"450 4.2.2 mailbox full\r\n"
NO = b"554 5.7.1 not wanted\r\n"
NOT_YET = b"451 4.7.1 come again\r\n"


@frozen
class Taken:
    """One transaction that a backend took: what it heard and answered 250.

    :ivar number: of the mailing; 0 for a bounce. ``bounce``: its Message-ID, else empty.
    :ivar recipients: of a mailing; of a bounce those that it speaks of.
    :ivar source: the address that it came from. ``at``: when, by :func:`time.monotonic`.
    """

    number: int
    recipients: tuple[str, ...]
    source: str
    at: float
    bounce: str = ""


class Takers:
    """The backends: ``ports`` of them, on one record.

    :param large: see :class:`~tests.peers.mailings.Mailing`.
    :ivar taken: in order. ``wrong``: what was not as it was sent, or not for whom it came to.
    :ivar before_reply: played before the reply to a dot: nothing, or what a test puts there.
    :ivar before_data: the same before the reply to DATA.
    """

    def __init__(self, count: int = 3, large: int = 200_000) -> None:
        self.taken: list[Taken] = []
        self.wrong: list[str] = []
        self.before_reply: Step = b""
        self.before_data: Step = b""
        self._large = large
        self._deferred: set[object] = set()
        script = Script(replies={"RCPT": self._rcpt, "DATA": self._data, END_OF_DATA: self._dot})
        self.backends = [ScriptedBackend(script) for _ in range(count)]

    def __repr__(self) -> str:
        return f"<Takers: {len(self.taken)} transactions, {self.backends!r}>"

    @property
    def ports(self) -> list[int]:
        return [backend.port for backend in self.backends]

    async def stop(self) -> None:
        for backend in self.backends:
            await backend.stop()

    def delivered(self) -> dict[str, list[Taken]]:
        """By recipient of a mailing, in order."""
        return _by_recipient(taken for taken in self.taken if not taken.bounce)

    def bounced(self) -> dict[str, list[Taken]]:
        """By the recipient that a bounce speaks of, in order."""
        return _by_recipient(taken for taken in self.taken if taken.bounce)

    # -- what they say

    def _rcpt(self, conversation: Conversation, command: bytes) -> Step:
        address = command.partition(b"<")[2].partition(b">")[0].decode("ascii")
        if fate(address) == REFUSED:
            return UNKNOWN
        if fate(address) == LATER and self._for_the_first_time(address):
            return FULL
        return STANDARD["RCPT"]

    def _data(self, conversation: Conversation, _: bytes) -> Step:
        return (self.before_data, GO_AHEAD)

    def _dot(self, conversation: Conversation, _: bytes) -> Step:
        message = conversation.messages.pop()
        recipients = tuple(map(_address, message.rcpts))
        fates = set(map(fate, recipients))
        if DOT_REFUSED in fates:
            return NO
        if DOT_LATER in fates and self._for_the_first_time(recipients):
            return NOT_YET
        self._note(message, recipients, conversation.transport.getPeer().host)
        return (self.before_reply, TAKEN)

    def _for_the_first_time(self, who: object) -> bool:
        before = who in self._deferred
        self._deferred.add(who)
        return not before

    # -- what they are given

    def _note(self, message: Message, recipients: tuple[str, ...], source: str) -> None:
        now = time.monotonic()
        if message.mail.startswith(b"MAIL FROM:<>"):
            self._note_bounce(message.plain, recipients, source, now)
            return
        number = number_of(message.plain)
        if number is None:
            self.wrong.append(f"from {source} for {recipients}: no mailing")
            return
        mailing = Mailing(number, self._large)
        if not set(recipients) <= set(mailing.recipients):
            self.wrong.append(f"{number} went to {recipients}")
        if _address(message.mail) != mailing.sender:
            self.wrong.append(f"{number} came with {message.mail!r}")
        received = RECEIVED.match(message.plain)
        if received is None or message.plain[received.end() :] != mailing.plain:
            self.wrong.append(f"{number} is not as it was sent")
        self.taken.append(Taken(number, recipients, source, now))

    def _note_bounce(
        self, plain: bytes, recipients: tuple[str, ...], source: str, now: float
    ) -> None:
        failed = tuple(match.decode("ascii") for match in FINAL.findall(plain))
        numbers = {int(address.split("-")[1]) for address in failed}
        expected = {Mailing(number).sender for number in numbers}
        if len(recipients) != 1 or set(recipients) != expected:
            self.wrong.append(f"a bounce of {failed} went to {recipients}")
        identity = MESSAGE_ID.search(plain)
        name = identity[1].decode("ascii") if identity else "without a Message-ID"
        self.taken.append(Taken(0, failed, source, now, name))


def _by_recipient(taken: Iterable[Taken]) -> dict[str, list[Taken]]:
    found = defaultdict[str, list[Taken]](list)
    for each in taken:
        for recipient in each.recipients:
            found[recipient].append(each)
    return found


def _address(command: bytes) -> str:
    return command.partition(b"<")[2].partition(b">")[0].decode("ascii", "backslashreplace")
