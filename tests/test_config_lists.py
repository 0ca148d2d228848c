"""``me`` and the files with one entry a line."""

import os

from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config import lists
from smtpforward.config.problems import Report


class ListCase(SynchronousTestCase):
    """Writes one file and keeps the report."""

    def setUp(self) -> None:
        """An empty report."""
        self.report = Report()

    def written(self, text: str) -> str:
        """The path of a new file."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(text.encode())
        return path

    def lines(self) -> list[int | None]:
        """The lines of the problems."""
        return [problem.line for problem in self.report.problems]


class MeTests(ListCase):
    """This host's name."""

    def me(self, text: str) -> tuple[str, bool]:
        """What a file gives."""
        return lists.read_me(self.written(text), lambda: "system.example", self.report)

    def test_name(self) -> None:
        """One line, in lower case; comments and blanks do not count."""
        self.assertEqual(
            self.me("# name\r\n\r\n Mail.Example.COM \r\n"), ("mail.example.com", True)
        )
        self.assertEqual(self.lines(), [])

    def test_absent(self) -> None:
        """Without the file the system is asked."""
        path = self.mktemp()
        found = lists.read_me(path, lambda: "a.example", self.report)
        self.assertEqual(found, ("a.example", False))
        self.assertEqual(self.lines(), [])

    def test_system_has_no_name(self) -> None:
        """A name of the system that is no host name is a problem of ``me``."""
        lists.read_me(self.mktemp(), lambda: "my_host", self.report)
        self.assertIn("the system gives", str(self.report.problems[0]))

    def test_bad(self) -> None:
        """What is no host name, and a second one, is a problem at its line."""
        for text in ("a b", "a..b", "-a.example", "a_b.example", "192.0.2.1", "x" * 64, "::1"):
            self.report = Report()
            self.me(f"\n{text}\n")
            self.assertEqual(self.lines(), [2], text)
        self.report = Report()
        self.me("a.example\nb.example\n")
        self.assertEqual(self.lines(), [2])


class HostTests(ListCase):
    """host_list and host_list_regex."""

    def test_hosts(self) -> None:
        """Domains are kept in lower case and as A-labels."""
        path = self.written("Example.COM\n; x\nBücher.example\n_a.example.net.\n")
        found = lists.read_hosts(path, self.report)
        self.assertEqual(found, {"example.com", "xn--bcher-kva.example", "_a.example.net"})
        self.assertEqual(self.lines(), [])

    def test_bad_hosts(self) -> None:
        """Each bad line is named, and the good ones are read."""
        text = "a@example.com\nok.example\n*.example\nxn--zzzzzz.example\n192.0.2.1\n"
        self.assertEqual(lists.read_hosts(self.written(text), self.report), {"ok.example"})
        self.assertEqual(self.lines(), [1, 3, 4, 5])

    def test_pattern(self) -> None:
        """Each expression stands for whole domains, in any case."""
        text = "a|b\\.example\n^mail[0-9]+\\.example\\.com$\n"
        pattern = lists.read_host_pattern(self.written(text), self.report)
        assert pattern is not None
        for name in ("a", "b.example", "MAIL12.example.com"):
            self.assertTrue(pattern.match(name), name)
        for name in ("a.example", "xb.example", "mail1.example.com.evil.example", "a\n"):
            self.assertFalse(pattern.search(name), name)

    def test_bad_pattern(self) -> None:
        """An expression that is wrong, or changes when joined with others, is named by its line."""
        text = "(\nok\na)(b\n(a)\\1\n(?P<x>a)\n(?i)a\n[\n*\n"
        pattern = lists.read_host_pattern(self.written(text), self.report)
        assert pattern is not None
        self.assertTrue(pattern.match("ok"))
        self.assertEqual(self.lines(), [1, 3, 4, 5, 6, 7, 8])

    def test_no_pattern(self) -> None:
        """No expression is no pattern, rather than one that matches everything."""
        self.assertIsNone(lists.read_host_pattern(self.written("# none\n"), self.report))

    def test_unreadable(self) -> None:
        """A directory, or a link to nothing, in the place of a file is a problem."""
        directory = self.mktemp()
        os.makedirs(directory)
        lists.read_hosts(directory, self.report)
        link = self.mktemp()
        os.symlink("nowhere", link)
        lists.read_hosts(link, self.report)
        self.assertEqual([p.file for p in self.report.problems], [directory, link])


class RelayTests(ListCase):
    """relay_acl_allow."""

    def test_networks(self) -> None:
        """Addresses and networks, IPv4 also in its IPv6 form."""
        text = "192.0.2.7\n198.51.100.0/24\n2001:db8::/32\n::ffff:203.0.113.0/120\n"
        relays = lists.read_relays(self.written(text), self.report)
        self.assertEqual(self.lines(), [])
        self.assertEqual(len(relays), 4)
        for ip in ("192.0.2.7", "198.51.100.9", "2001:db8::5", "203.0.113.4", "::ffff:192.0.2.7"):
            self.assertIn(ip, relays)
        for ip in ("192.0.2.8", "2001:db9::", "203.0.114.1"):
            self.assertNotIn(ip, relays)

    def test_bad(self) -> None:
        """A line that is no network is a problem; so is one with bits beyond its prefix."""
        text = "192.0.2.300\nlocalhost\n10.0.0.1/8\n::1/200\n[::1]\n"
        lists.read_relays(self.written(text), self.report)
        self.assertEqual(self.lines(), [1, 2, 3, 4, 5])
        self.assertIn("10.0.0.0/8", self.report.problems[2].remedy)

    def test_everyone(self) -> None:
        """A network of all addresses gives a warning."""
        lists.read_relays(self.written("0.0.0.0/0\n"), self.report)
        self.assertIn("every host", self.report.warnings[0])
