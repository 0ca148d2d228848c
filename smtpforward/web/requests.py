"""HTTP requests with bodies that are bounded, and the headers of every answer."""

from typing import Any

from twisted.web.server import Request

LARGEST = 65_536
TOO_LARGE = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
# The page is made of nothing but its own files, and stands in nobody else's.
POLICY = b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
HEADERS = (
    (b"content-security-policy", POLICY),
    (b"x-frame-options", b"DENY"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class BoundedRequest(Request):
    """A request whose body is at most ``LARGEST`` bytes; one that is larger is cut off."""

    _refused = False

    def gotLength(self, length: int | None) -> None:  # noqa: N802 -- Twisted's name
        """See Request."""
        Request.gotLength(self, min(length or 0, LARGEST))
        if length is not None and length > LARGEST:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 -- Twisted's name
        """See Request."""
        if self._refused:
            return
        body: Any = self.content
        if body.tell() + len(data) > LARGEST:
            self._refuse()
        else:
            Request.handleContentChunk(self, data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """See Request."""
        if not self._refused:
            Request.requestReceived(self, command, path, version)

    def process(self) -> None:
        """See Request."""
        for name, value in HEADERS:
            self.setHeader(name, value)
        Request.process(self)

    def _refuse(self) -> None:
        self._refused = True
        channel: Any = self.channel
        channel.transport.write(TOO_LARGE)
        channel.loseConnection()
