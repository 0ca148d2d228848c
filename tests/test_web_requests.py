"""Requests over a string transport: how large a body may be, and the headers of each answer."""

import re
from importlib.resources import files

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from smtpforward.web.requests import LARGEST, BoundedRequest
from smtpforward.web.static import FOLDER, INDEX, PACKAGE, File, folder, names

NAMED = re.compile(r"""static/([\w.-]+)|(?:from|url\() ?"(?:\./)?([\w.-]+)\"""")


class Echo(Resource):
    """Says how much it was sent."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """See Resource."""
        assert request.content is not None
        return b"%d bytes" % len(request.content.read())


class RequestCase(SynchronousTestCase):
    """A site with one resource."""

    resource: Resource = Echo()

    def said(self, *pieces: bytes) -> bytes:
        """What is answered."""
        site = Site(self.resource, requestFactory=BoundedRequest, reactor=Clock())
        channel = site.buildProtocol(None)
        assert channel is not None
        transport = StringTransportWithDisconnection()
        transport.protocol = channel
        channel.makeConnection(transport)
        for piece in pieces:
            if transport.connected:
                channel.dataReceived(piece)
        return transport.value()


class BodyTests(RequestCase):
    """How large a body may be."""

    def test_fits(self) -> None:
        """One that is as large as may be, announced or in chunks."""
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % LARGEST
        self.assertIn(b"%d bytes" % LARGEST, self.said(head, b"x" * LARGEST))
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.assertIn(b"3 bytes", self.said(head, b"3\r\nabc\r\n0\r\n\r\n"))

    def test_announced(self) -> None:
        """One that is larger is not waited for."""
        said = self.said(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (LARGEST + 1)
        )
        self.assertTrue(said.startswith(b"HTTP/1.1 413 "), said)

    def test_chunks(self) -> None:
        """One that turns out to be larger is cut off, and never answered as if it were whole."""
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunk = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
        said = self.said(head + chunk, chunk, chunk + b"0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual(said.count(b"HTTP/1.1"), 1)
        self.assertTrue(said.startswith(b"HTTP/1.1 413 "), said)


class HeadersTests(RequestCase):
    """What every answer says to browsers."""

    def test_headers(self) -> None:
        """Nothing from elsewhere, in nobody's frame, and no guessing of types."""
        said = self.said(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").lower()
        for header in (
            b"content-security-policy: default-src 'self';", b"x-frame-options: deny\r\n",
            b"x-content-type-options: nosniff\r\n", b"referrer-policy: no-referrer\r\n",
        ):  # fmt: skip
            self.assertIn(header, said)


class StaticTests(RequestCase):
    """The page's files."""

    resource = folder()

    def test_not_there(self) -> None:
        """A name that is none of theirs is not looked for."""
        for name in (b"__init__.py", b"../page.py", b"index.html", b"%2e%2e/page.py"):
            said = self.said(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % name)
            self.assertTrue(said.startswith(b"HTTP/1.1 404 "), name)

    def test_missing(self) -> None:
        """One that is not installed is a 404, too."""
        self.resource = File("nothing.js")
        said = self.said(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(said.startswith(b"HTTP/1.1 404 "), said)

    def test_types(self) -> None:
        """Each has one."""
        for name, kind in {"page.css": b"text/css", "page.js": b"text/javascript"}.items():
            said = self.said(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % name.encode())
            self.assertIn(b"content-type: %b; charset=utf-8" % kind, said.lower())

    def test_all_there(self) -> None:
        """Each file that the page or a module names is shown, and no other file is there."""
        named = {"page.js"}
        for name in (INDEX, *names()):
            text = (files(PACKAGE) / FOLDER / name).read_text("utf-8")
            named |= {found[0] or found[1] for found in NAMED.findall(text)}
        self.assertEqual(sorted(named), names())
