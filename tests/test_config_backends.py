"""Keys of ``smtp_forward.ini`` that make servers: several hosts, TLS, logins."""

import os

from smtpforward.config.dialect import Document
from smtpforward.config.problems import Report
from smtpforward.config.reading import check
from smtpforward.config.settings import Routes
from smtpforward.config.spec import FORWARD
from smtpforward.job import TLS, Credentials, Server
from tests.test_config_load import DirectoryCase

TOP = "host=192.0.2.1\ncheck_recipient=true\n"
LOGIN = "auth_type=plain\nauth_user=user\nauth_pass=hunter2\n"


class BackendCase(DirectoryCase):
    """Reads smtp_forward.ini after a good start of two lines."""

    def routes(self, text: str, **files: str) -> Routes:
        """What it gives; ``self.warnings`` are the warnings."""
        settings = self.load(smtp_forward_ini=TOP + text, **files)
        self.warnings = settings.warnings
        return settings.routes

    def server(self, text: str, **files: str) -> Server:
        """The default route's first server."""
        return self.routes(text, **files).default.next_hop.servers[0]

    def wrong(self, text: str, **files: str) -> tuple[int | None, str | None, str]:
        """Line, key and message of the one problem; no secret is in it, and a remedy is."""
        problem = self.only(smtp_forward_ini=TOP + text, **files)
        self.assertNotIn("hunter2", str(problem))
        self.assertTrue(problem.remedy)
        return problem.line, problem.key, problem.message


class CredentialsTests(BackendCase):
    """``auth_*``."""

    def test_login(self) -> None:
        """Type, name and password make a login, which no repr shows."""
        server = self.server(LOGIN)
        self.assertEqual(server.credentials, Credentials("PLAIN", "user", "hunter2"))
        self.assertNotIn("hunter2", repr(server))
        self.assertEqual(self.warnings, ())
        server = self.server(LOGIN.replace("plain", "LOGIN"))
        assert server.credentials is not None
        self.assertEqual(server.credentials.mechanism, "LOGIN")

    def test_none(self) -> None:
        """Without any of the keys nobody logs in; empty ones, as in Haraka's file, are none."""
        self.assertIsNone(self.server("").credentials)
        self.assertIsNone(self.server("auth_user=\nauth_pass=\n").credentials)

    def test_password_file(self) -> None:
        """The password is read from a file beside it, without the end of its line."""
        for text in ("hunter2", "hunter2\n", "hunter2\r\n"):
            server = self.server(
                "auth_type=plain\nauth_user=user\nauth_pass_file=secret\n", secret=text
            )
            self.assertEqual(server.credentials, Credentials("PLAIN", "user", "hunter2"))

    def test_bad_password_file(self) -> None:
        """A file that is not there, or holds no password, is a problem of the key."""
        head = "auth_type=plain\nauth_user=user\nauth_pass_file=secret\n"
        for files, words in (
            ({}, "No such file"),
            ({"secret": ""}, "is empty"),
            ({"secret": "\n"}, "is empty"),
            ({"secret": "hunter2\n\n"}, "a second line"),
            ({"secret": "hunter2\0"}, "control character"),
        ):
            line, key, message = self.wrong(head, **files)
            self.assertEqual((line, key), (5, "auth_pass_file"), words)
            self.assertIn(words, message)
        line, key, message = self.wrong(head + "auth_pass=hunter2\n", secret="hunter2")
        self.assertEqual((line, key), (5, "auth_pass_file"))
        self.assertIn("auth_pass is set as well, on line 6", message)

    def test_password_file_of_a_section(self) -> None:
        """One that is wrong is reported once, however many sections inherit it."""
        text = "auth_type=plain\nauth_user=u\nauth_pass_file=no\n[a.example]\n[b.example]\nport=9\n"
        self.assertEqual(self.wrong(text)[0], 5)

    def test_incomplete(self) -> None:
        """Each half of a login is a problem, with what is missing."""
        for text, key, words in (
            ("auth_user=user\nauth_pass=hunter2\n", "auth_user", "auth_type is not set"),
            ("auth_pass=hunter2\n", "auth_pass", "auth_type is not set"),
            ("auth_type=plain\n", "auth_type", "auth_user is not set"),
            ("auth_type=plain\nauth_user=user\n", "auth_type", "auth_pass is not set"),
            ("auth_type=plain\nauth_user=\nauth_pass=hunter2\n", "auth_type", "auth_user is not"),
            ("auth_type=plian\nauth_user=user\n", "auth_type", "is wrong"),
            ("auth_type=cram-md5\n", "auth_type", "is wrong"),
            ("auth_pass[]=hunter2\n", "auth_pass", "is a list"),
            ("auth_pass=hunter2\x01\n", "auth_pass", "control character"),
        ):
            line, found, message = self.wrong(text)
            self.assertEqual((line, found), (3, key), text)
            self.assertIn(words, message)

    def test_sections(self) -> None:
        """A section inherits a login, or a part of it, unless it has a host of its own."""
        sections = self.routes(
            LOGIN + "[a.example]\n[b.example]\nauth_user=b\n[c.example]\nhost=192.0.2.3\n"
            "[d.example]\nforwarding_host_pool=192.0.2.4\nauth_type=login\nauth_user=d\n"
            "auth_pass=x\n[e.example]\nauth_pass_file=secret\n",
            secret="other",
        ).sections
        logins = {name: route.next_hop.servers[0].credentials for name, route in sections.items()}
        self.assertEqual(
            logins,
            {
                "a.example": Credentials("PLAIN", "user", "hunter2"),
                "b.example": Credentials("PLAIN", "b", "hunter2"),
                "c.example": None,
                "d.example": Credentials("LOGIN", "d", "x"),
                "e.example": Credentials("PLAIN", "user", "other"),
            },
        )
        line, key, _ = self.wrong(LOGIN + "[c.example]\nhost=192.0.2.3\nauth_user=c\n")
        self.assertEqual((line, key), (8, "auth_user"))

    def test_in_the_clear(self) -> None:
        """enable_tls=false sends the password in the clear, as told: one warning for all."""
        self.routes(f"{LOGIN}enable_tls=false\n[a.example]\nauth_user=a\n")
        (warning,) = self.warnings
        self.assertIn("at the top level and in 1 more: the password goes", warning)
        self.assertNotIn("hunter2", warning)
        self.routes("enable_tls=false\n")
        self.assertEqual(self.warnings, ())

    def test_reprs(self) -> None:
        """What the reader holds on its way shows no secret either."""
        document = Document()
        path = os.path.join(self.directory(smtp_forward_ini=TOP + LOGIN), "smtp_forward.ini")
        document.read(path, Report())
        reading = check(document, FORWARD, Report())
        self.assertEqual(reading.values["main"]["auth_pass"], "hunter2")
        self.assertNotIn("hunter2", repr(document) + repr(reading))


class PolicyTests(BackendCase):
    """``enable_tls`` and the lists of ``tls.ini``."""

    def policy(self, text: str, lists: str = "") -> TLS:
        """The default route's policy."""
        return self.server(text, tls_ini="[outbound]\n" + lists).tls

    def test_words(self) -> None:
        """Each word is a policy; without it TLS is used when it is offered."""
        self.assertIs(self.policy(""), TLS.OFFERED)
        for word in ("off", "on", "Required", "implicit"):
            expected = {"off": TLS.NEVER, "on": TLS.OFFERED}.get(word) or TLS(word.lower())
            self.assertIs(self.policy(f"enable_tls={word}\n"), expected)
        line, key, _ = self.wrong("enable_tls=requird\n")
        self.assertEqual((line, key), (3, "enable_tls"))

    def test_port(self) -> None:
        """TLS at once has a port of its own, unless one is set; an odd one gives a warning."""
        self.assertEqual(self.server("enable_tls=implicit\n").port, 465)
        self.assertEqual(self.server("enable_tls=required\n").port, 25)
        self.assertEqual(self.warnings, ())
        self.assertEqual(self.server("enable_tls=implicit\nport=25\n").port, 25)
        self.assertIn("a port where servers begin without TLS", self.warnings[0])
        sections = self.routes("[a.example]\nenable_tls=implicit\n").sections
        self.assertEqual(str(sections["a.example"].next_hop), "192.0.2.1:465")

    def test_force_tls_hosts(self) -> None:
        """A host of the list is required where the route says true or false."""
        force = "force_tls_hosts=192.0.2.0/24"
        for word, policy in {
            "true": TLS.REQUIRED,
            "false": TLS.REQUIRED,
            "required": TLS.REQUIRED,
            "implicit": TLS.IMPLICIT,
        }.items():
            self.assertIs(self.policy(f"enable_tls={word}\n", force), policy)

    def test_no_tls_hosts(self) -> None:
        """A host of the list has none; a route that requires it contradicts that."""
        lists = "no_tls_hosts[]=192.0.2.1"
        for word in ("true", "false"):
            self.assertIs(self.policy(f"enable_tls={word}\n", lists), TLS.NEVER)
        for word in ("required", "implicit"):
            line, key, message = self.wrong(f"enable_tls={word}\n", tls_ini=f"[outbound]\n{lists}")
            self.assertEqual((line, key), (3, "enable_tls"))
            self.assertIn("192.0.2.1 is in no_tls_hosts", message)

    def test_password_of_a_no_tls_host(self) -> None:
        """A list shows no password: only enable_tls=false may, in as many words."""
        lists = "[outbound]\nno_tls_hosts=192.0.2.1\n"
        line, key, message = self.wrong(LOGIN, tls_ini=lists)
        self.assertEqual((line, key), (3, "auth_type"))
        self.assertIn("the password would go in the clear", message)
        self.routes(f"{LOGIN}enable_tls=false\n", tls_ini=lists)

    def test_by_host(self) -> None:
        """The lists hold for each host of a pool, by name, whatever its case or final dot."""
        servers = self.routes(
            "[a.example]\nforwarding_host_pool=MX1.example., mx2.example, mx3.example\n",
            tls_ini="[outbound]\nno_tls_hosts=mx2.example\nforce_tls_hosts=mx1.EXAMPLE",
        ).sections["a.example"]
        policies = [server.tls for server in servers.next_hop.servers]
        self.assertEqual(policies, [TLS.REQUIRED, TLS.NEVER, TLS.OFFERED])


class PoolTests(BackendCase):
    """``forwarding_host_pool``."""

    def pool(self, text: str) -> list[str]:
        """The servers of a file that has a pool and no host."""
        hop = self.load(smtp_forward_ini=f"check_recipient=1\n{text}").routes.default.next_hop
        return [str(server) for server in hop.servers]

    def test_forms(self) -> None:
        """Hosts in order, with Haraka's separators; the route's port is for those without one."""
        for text, hosts in {
            "1.1.1.1:11, 2.2.2.2:22,3.3.3.3:33": ["1.1.1.1:11", "2.2.2.2:22", "3.3.3.3:33"],
            "b.example a.example;c.example:26": ["b.example:25", "a.example:25", "c.example:26"],
            "[2001:db8::1]:26,\t[2001:db8::2]": ["[2001:db8::1]:26", "[2001:db8::2]:25"],
        }.items():
            self.assertEqual(self.pool(f"forwarding_host_pool={text}\n"), hosts)
        self.assertEqual(
            self.pool("port=2525\nforwarding_host_pool[]=a.example\nforwarding_host_pool[]=b:1\n"),
            ["a.example:2525", "b:1"],
        )
        text = "enable_tls=implicit\nforwarding_host_pool=a.example,b.example:4650\n"
        self.assertEqual(self.pool(text), ["a.example:465", "b.example:4650"])

    def test_retry(self) -> None:
        """How long a dead host rests is part of the next hop."""
        self.assertEqual(self.routes("").default.next_hop.retry_dead_after, 60.0)
        hop = self.routes("dead_forwarding_host_retry_secs=5\n").default.next_hop
        self.assertEqual(hop.retry_dead_after, 5.0)

    def test_strict_8bit(self) -> None:
        """So is whether 8-bit bytes need 8BITMIME; a section inherits it, or has its own."""
        text = "strict_8bit=true\n[b.example]\nstrict_8bit=false\n[c.example]\n"
        routes = self.load(smtp_forward_ini=f"host=a.example\ncheck_recipient=1\n{text}").routes
        self.assertTrue(routes.default.next_hop.strict_8bit)
        self.assertFalse(routes.sections["b.example"].next_hop.strict_8bit)
        self.assertEqual(routes.sections["c.example"].next_hop, routes.default.next_hop)
        self.assertFalse(self.routes("").default.next_hop.strict_8bit)

    def test_wrong(self) -> None:
        """What is no list of hosts is a problem at its line."""
        for text in (
            *("", ",", "a.example:0", "a.example:65536", "a.example:x", "2001:db8::1", "[a]:1"),
            *("a_b/c", "[::1", "a.example:1:2", "a.example,a.example"),
        ):
            line, key, _ = self.wrong(f"[a.example]\nforwarding_host_pool={text}\n")
            self.assertEqual((line, key), (4, "forwarding_host_pool"), text)
        line, key, message = self.wrong("forwarding_host_pool=a.example\n")
        self.assertEqual((line, key), (3, "forwarding_host_pool"))
        self.assertIn("host is set as well", message)

    def test_sections(self) -> None:
        """A section's own host takes the place of an inherited pool, and the reverse."""
        routes = self.load(
            smtp_forward_ini="check_recipient=1\nforwarding_host_pool=a.example,b.example\n"
            "[c.example]\nhost=c.example\n[d.example]\nforwarding_host_pool=d.example\n[e.example]\n"
        ).routes
        hops = {name: str(route.next_hop) for name, route in routes.sections.items()}
        self.assertEqual(
            hops,
            {
                "c.example": "c.example:25",
                "d.example": "d.example:25",
                "e.example": "a.example:25, b.example:25",
            },
        )

    def test_bounds(self) -> None:
        """Bounds are compared over every server of every route."""
        line, key, message = self.wrong(
            "[a.example]\nforwarding_host_pool=192.0.2.7,192.0.2.1\nmax_age=5\n"
        )
        self.assertEqual((line, key), (5, "max_age"))
        self.assertIn("share the pool of 192.0.2.1:25", message)

    def test_bind(self) -> None:
        """A bind address that reaches one server of a pool and not the other is a problem, once."""
        line, key, _ = self.wrong(
            "[a.example]\nbind=192.0.2.9\nforwarding_host_pool=192.0.2.7,[2001:db8::1]\n"
        )
        self.assertEqual((line, key), (4, "bind"))
        self.assertEqual(self.wrong("bind=::1\n[a.example]\n[b.example]\n")[0], 3)
