"""One AUTH exchange (RFC 4954): the client's lines in, challenges and at last credentials out.

No socket and no users: what the credentials are worth, the portal says. The mechanisms are
Twisted's, with their faults mended.
"""

import base64
import hmac
import secrets

from twisted.cred.credentials import (
    CramMD5Credentials,
    ICredentials,
    IUsernameHashedPassword,
    IUsernamePassword,
)
from twisted.mail.imap4 import PLAINCredentials
from twisted.mail.smtp import LOGINCredentials

from smtpforward import answers
from smtpforward.reply import Reply

PLAIN, LOGIN, CRAM_MD5 = "PLAIN", "LOGIN", "CRAM-MD5"
MAX_LINE = 12288 + 2  # RFC 4954 4, and the CRLF
# What a portal must be able to check for each; in the order announced where nothing says another.
NEEDED = {
    PLAIN: IUsernamePassword,
    LOGIN: IUsernamePassword,
    CRAM_MD5: IUsernameHashedPassword,
}


class _Plain(PLAINCredentials):
    """PLAIN (RFC 4616); nobody may act for another user."""

    def setResponse(self, response: bytes) -> None:
        """Take the three parts; ValueError when it is not those."""
        acting_for, self.username, self.password = response.split(b"\0")
        if acting_for not in (b"", self.username):
            raise ValueError("acting for another user")


class _CramMD5(CramMD5Credentials):
    """CRAM-MD5 (RFC 2195) with a challenge that cannot be foreseen."""

    def getChallenge(self) -> bytes:
        """The challenge, always the same."""
        if not self.challenge:
            self.challenge = b"<%b@%b>" % (secrets.token_hex(16).encode("ascii"), self.host)
        return self.challenge

    def setResponse(self, response: bytes) -> None:
        """Take name and digest; ValueError when it is not those."""
        self.username, blank, self.response = response.rpartition(b" ")
        if not blank:
            raise ValueError("no digest")

    def checkPassword(self, password: bytes) -> bool:
        """Whether the digest was made with ``password``."""
        digest = hmac.new(password, self.challenge, "md5").hexdigest()
        return hmac.compare_digest(digest.encode("ascii"), self.response)


class Exchange:
    """The exchange of one login.

    Each step gives a Reply, of which 334 asks for one more line and any other ends the exchange;
    or the credentials, which end it too.

    :param method: one of ``NEEDED``. ``host``: this host's name.
    """

    def __init__(self, method: str, host: bytes) -> None:
        self.method = method
        self._credentials = _credentials(method, host)

    def begin(self, initial: bytes) -> Reply | ICredentials:
        """The AUTH command, with its initial response; an empty one is none."""
        if not initial:
            return self._challenge()
        if self.method == CRAM_MD5:
            return answers.NO_INITIAL_RESPONSE
        self._credentials.getChallenge()  # the client has answered it already
        return self.respond(b"" if initial == b"=" else initial)

    def respond(self, line: bytes) -> Reply | ICredentials:
        """A line of the client's."""
        if line == b"*":
            return answers.LOGIN_ABORTED
        try:
            self._credentials.setResponse(base64.b64decode(line, validate=True))
        except ValueError:
            return answers.BAD_LOGIN
        return self._challenge() if self._credentials.moreChallenges() else self._credentials

    def _challenge(self) -> Reply:
        return Reply(334, (base64.b64encode(self._credentials.getChallenge()),))


def _credentials(method: str, host: bytes) -> PLAINCredentials | LOGINCredentials | _CramMD5:
    if method == CRAM_MD5:
        return _CramMD5(host)
    return _Plain() if method == PLAIN else LOGINCredentials()
