"""A target that files each message in a Maildir: the receiving server of the demonstration."""

import mailbox
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from smtpforward.interfaces import IDeliver
from smtpforward.job import Event, Job, Outcome, Stage
from smtpforward.reply import Reply


@implementer(IDeliver)
class MaildirTarget:
    """Files messages below ``path``, which is made when it is not there.

    :ivar filed: the file of each message so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.filed: list[Path] = []
        self._maildir = mailbox.Maildir(path, create=True)

    def deliver(self, job: Job) -> Deferred[list[Outcome]]:
        """See :class:`smtpforward.interfaces.IDeliver`."""
        sender = b"Return-Path: %b\n" % job.envelope.sender.path
        message = b"".join(job.content.plain()).replace(b"\r\n", b"\n")
        key = self._maildir.add(sender + message)
        self.filed.append(self.path / "new" / key)
        reply = Reply(250, (b"2.0.0 filed as %b" % key.encode("ascii"),))
        return succeed(
            [
                Outcome(r, Event.ACCEPTED, Stage.DOT, reply, "maildir")
                for r in job.envelope.recipients
            ]
        )
