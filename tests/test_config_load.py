"""A whole directory to settings, and everything that can be wrong with it."""

import os
import re
import time

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import config
from smtpforward.config import store
from smtpforward.config.load import LIST_FILES
from smtpforward.config.problems import Problem, printable
from smtpforward.config.settings import ClientTimeouts, Limits, Settings
from smtpforward.job import NextHop, PoolBounds, Server, Timeouts

ETC = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "etc")
FORWARD = "host=127.0.0.1\nenable_tls=false\ncheck_recipient=true\n"

# The ; before a key that shows its default: these have none to show, or an example.
COMMENTED = re.compile(
    r"^;(?!bind|spool_dir|forwarding|auth_|queue|key|cert|ciphers|minVersion=TLSv1.3|ca="
    r"|bare_newline_exempt|debug_session|connections|errors_per_ip|first_command|command|data"
    r"|store|temp_fail_intervals|received_header|smart_host|nameservers|listen|user|password)(?=\w+=)",
    re.MULTILINE,
)
KEYS = (
    "host",
    "port",
    "timeout",
    "bind",
    "enable_tls",
    "queue",
    "auth_pass",
    "auth_pass_file",
    "forwarding_host_pool",
    "minVersion",
    "force_tls_hosts",
    "x",
    "key[]",
    "host[]",
)
VALUES = st.sampled_from(
    ("1", "::1", "a.example", "true", "", "9" * 5000, "%", "xn--a", "\0", "ß", "\\")
)
LINES = st.one_of(
    st.tuples(st.sampled_from(KEYS), VALUES | st.text()).map("=".join),
    (VALUES | st.text()).map("[{}]".format),
    st.text(),
)


class DirectoryCase(SynchronousTestCase):
    """Writes a directory and loads it. The place where a queue lies by default is an empty one."""

    def setUp(self) -> None:
        """On the machine of the tests there may be a gateway."""
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        self.queue_file = os.path.join(folder, "queue.sqlite3")
        self.patch(store, "DEFAULT_FILE", self.queue_file)

    def directory(self, **files: str) -> str:
        """A new directory; ``smtp_ini`` is ``smtp.ini``; a good smtp_forward.ini if not given."""
        path = self.mktemp()
        os.makedirs(path)
        for name, text in {"smtp_forward_ini": FORWARD, "me": "me.example", **files}.items():
            name = name.replace("_ini", ".ini")
            with open(os.path.join(path, name), "wb") as file:
                file.write(text.encode())
        return path

    def load(self, **files: str) -> Settings:
        """Settings of good files."""
        return config.load(self.directory(**files))

    def problems(self, **files: str) -> list[Problem]:
        """The problems of bad files."""
        error = self.assertRaises(config.ConfigurationError, self.load, **files)
        return list(error.problems)

    def only(self, **files: str) -> Problem:
        """The one problem."""
        problems = self.problems(**files)
        self.assertEqual(len(problems), 1, "\n".join(map(str, problems)))
        return problems[0]

    def forward(self, text: str) -> Problem:
        """The one problem of smtp_forward.ini with ``text`` after the good lines (from line 4)."""
        return self.only(smtp_forward_ini=FORWARD + text)


class GoodTests(DirectoryCase):
    """What good files mean."""

    def test_defaults(self) -> None:
        """With only a host everything has the defaults of the settings classes."""
        settings = self.load()
        expected = Settings(
            me="me.example",
            own_name="me.example",
            routes=settings.routes,
            access=settings.access,
            spool_dir=settings.spool_dir,
        )
        self.assertEqual(settings, expected)
        self.assertTrue(os.path.isdir(settings.spool_dir))
        hop = NextHop((Server("127.0.0.1", 25, "me.example"),))
        self.assertEqual(settings.routes.default.next_hop, hop)
        self.assertEqual(settings.routes.default.section, "")

    def test_own_name(self) -> None:
        """A name that only the system gives is not one by which to know a loop."""
        path = self.directory()
        os.remove(os.path.join(path, "me"))
        settings = config.load(path, hostname=lambda: "system.example")
        self.assertEqual((settings.me, settings.own_name), ("system.example", None))

    def test_every_value(self) -> None:
        """Each working key reaches its place, from either of the two files and from [main]."""
        spool = self.mktemp()
        os.makedirs(spool)
        settings = self.load(
            me="Me.Example",
            smtp_ini=(
                f"listen=127.0.0.1:0, [::1]:2525\nspool_dir={spool}\n[max]\nbytes=9\nerrors=1\n"
            ),
            connection_ini=(
                "[main]\nspool_after=8\ninactivity_timeout=7.5\nforce_shutdown_timeout=6\n"
                "[max]\nline_length=600\nrecipients=3\nunrecognized_commands=2\n"
                "header_bytes=10\nconnections=11\nconnections_per_ip=12\nmemory=0\n"
                "errors_per_ip=13\n"
                "[headers]\nmax_received=4\n[timeouts]\nfirst_command=13\ncommand=14.5\n"
            ),
            smtp_forward_ini=(
                "[main]\nhost=MX.example.net\nport=26\nconnect_timeout=1\ntimeout=2\n"
                "max_connections=3\nreply_timeout=4\nforward_timeout=5\ndot_timeout=6\nmax_age=7\n"
                "max_messages=8\nmax_connecting=9\nbind=127.0.0.2\nbind_helo=Out.example\npartial_rejection=reject\n"
                "check_recipient=OK\nenable_tls=off\n"
            ),
        )
        self.assertEqual(settings.me, "me.example")
        self.assertEqual(
            settings.listen, ("tcp:0:interface=127.0.0.1", "tcp6:2525:interface=\\:\\:1")
        )
        self.assertEqual(settings.limits, Limits(9, 8, 600, 3, 1, 2, 4, 10, 11, 12, 13, 0))
        self.assertEqual(settings.timeouts, ClientTimeouts(13.0, 14.5, None))
        self.assertEqual(
            (settings.first_command_timeout, settings.command_timeout, settings.data_timeout),
            (13.0, 14.5, 7.5),
        )
        self.assertEqual(settings.inactivity_timeout, 7.5)
        self.assertEqual(settings.force_shutdown_timeout, 6.0)
        self.assertEqual(settings.spool_dir, os.path.abspath(spool))
        route = settings.routes.default
        server = Server("mx.example.net", 26, "out.example", "127.0.0.2")
        hop = NextHop((server,), Timeouts(1, 4, 5, 6), PoolBounds(3, 2, 7, 8, 9))
        self.assertEqual(route.next_hop, hop)
        self.assertEqual(route.partial_rejection, "reject")
        self.assertTrue(settings.routes.check_recipient)
        self.assertEqual(settings.warnings, ())

    def test_port(self) -> None:
        """``port`` holds without ``listen``, and for a host alone in it, which may be a list."""
        self.assertEqual(self.load(smtp_ini="port=26").listen, ("tcp6:26:interface=\\:\\:",))
        listen = self.load(smtp_ini="port=26\nlisten=127.0.0.1").listen
        self.assertEqual(listen, ("tcp:26:interface=127.0.0.1",))
        listen = self.load(smtp_ini="listen[]=unix:/a,b\nlisten[]=tcp:1").listen
        self.assertEqual(listen, ("unix:/a,b", "tcp:1"))

    def test_never_spool(self) -> None:
        """Haraka's -1 means that no message is long enough for a file; 0 means all are."""
        limits = self.load(smtp_ini="spool_after=-1\n[max]\nbytes=77\n").limits
        self.assertEqual(limits.spool_after, 77)
        self.assertEqual(self.load(smtp_ini="spool_after=0").limits.spool_after, 0)

    def test_bare_newline(self) -> None:
        """Clients whose bare LFs are normalized: none, all, or those of some networks."""
        settings = self.load()
        self.assertFalse(settings.normalizes("192.0.2.1"))
        settings = self.load(smtp_ini="bare_newline=Normalize")
        self.assertTrue(settings.normalizes("192.0.2.1"))
        for text in (
            "bare_newline_exempt=192.0.2.0/24, 2001:db8::1",
            "bare_newline_exempt=192.0.2.0/24 2001:db8::1",
            "bare_newline_exempt[]=192.0.2.0/24\nbare_newline_exempt[]=2001:db8::1",
        ):
            settings = self.load(smtp_ini=f"bare_newline=reject\n{text}")
            exempt = [settings.normalizes(ip) for ip in ("192.0.2.9", "2001:db8::1", "192.0.3.1")]
            self.assertEqual(exempt, [True, True, False], text)

    def test_nodes(self) -> None:
        """A number of processes, or as many as there are processors for this one."""
        for text, nodes in (("", 0), ("nodes=0", 0), ("nodes=2", 2), ("nodes=255", 255)):
            self.assertEqual(self.load(smtp_ini=text).nodes, nodes)
        self.assertEqual(self.load(smtp_ini="nodes=CPUS").nodes, len(os.sched_getaffinity(0)))

    def test_lists(self) -> None:
        """The lists reach the access rules."""
        access = self.load(
            host_list="a.example\n", host_list_regex=".*\\.b\\.example\n", relay_acl_allow="::1\n"
        ).access
        self.assertEqual(access.hosts, {"a.example"})
        assert access.host_pattern is not None
        self.assertTrue(access.host_pattern.fullmatch("x.b.example"))
        self.assertIn("::1", access.relays)

    def test_example(self) -> None:
        """The project's own etc/ loads, and its commented keys show the defaults."""
        self.patch(store, "why_passing", lambda folder: "")
        settings = config.load(ETC)
        self.assertEqual(settings.warnings, ())
        self.assertEqual(settings.listen, ("tcp:8025:interface=127.0.0.1",))
        shown = {}
        for name in os.listdir(ETC):
            if os.path.isdir(os.path.join(ETC, name)):
                continue  # not the gateway's: for Grafana and Prometheus
            with open(os.path.join(ETC, name), encoding="utf-8") as file:
                shown[name.replace(".ini", "_ini")] = COMMENTED.sub("", file.read())
        for name in ("smtp_forward_ini", "outbound_ini"):
            self.assertIn("\nmax_age=240\n", shown[name])
        self.assertIsNotNone(settings.outbound)
        same = self.load(**shown)
        self.assertEqual(evolve(same, access=settings.access), settings)


class SectionTests(DirectoryCase):
    """Sections of smtp_forward.ini."""

    def test_inherit(self) -> None:
        """A section inherits what it does not set, and equal next hops are equal."""
        routes = self.load(
            smtp_forward_ini=FORWARD + "port=26\n[a.example]\n[B.example]\nhost=192.0.2.1\n"
            "partial_rejection=reject\n[bücher.example.]\nreply_timeout=9\n"
        ).routes
        self.assertEqual(list(routes.sections), ["a.example", "b.example", "xn--bcher-kva.example"])
        self.assertEqual(routes.sections["a.example"].next_hop, routes.default.next_hop)
        b = routes.sections["b.example"]
        self.assertEqual(b.section, "B.example")
        self.assertEqual(b.partial_rejection, "reject")
        self.assertEqual(str(b.next_hop), "192.0.2.1:26")
        third = routes.sections["xn--bcher-kva.example"].next_hop
        self.assertEqual(third.servers, routes.default.next_hop.servers)
        self.assertNotEqual(third, routes.default.next_hop)

    def test_same_domain(self) -> None:
        """Two spellings of one domain are a problem."""
        problem = self.forward("[A.example]\n[a.Example.]\n")
        self.assertEqual(problem.line, 5)
        self.assertIn("[A.example], line 4", problem.message)

    def test_no_domain(self) -> None:
        """A section that is no domain is a problem; so is an address where senders select none."""
        for name in ("a b", "192.0.2.1", "*.example", "@", "a@b@", "a..b"):
            self.assertIn("is no domain", self.forward(f"[{name}]\n").message, name)
        self.assertIn("is for a sender", self.forward("[a@b.example]\n").message)
        self.assertIn("without a local part", self.forward("[@b.example]\n").message)

    def test_section_named_default(self) -> None:
        """A section whose name ConfigObj reserves is checked like any other."""
        self.assertEqual(self.forward("[DEFAULT]\nport=x\n").key, "port")

    def test_bounds(self) -> None:
        """Routes that share a pool and differ in its bounds are named, both with their lines."""
        problem = self.forward("[a.example]\nport=26\n[b.example]\nport=26\nmax_age=5\n")
        self.assertEqual((problem.line, problem.key), (8, "max_age"))
        self.assertIn("5 in [b.example], but 240 in [a.example]", problem.message)
        self.assertIn("smtp_forward.ini:4", problem.message)
        problem = self.forward("[a.example]\nmax_connections=2\n")
        self.assertIn("1000 in the top level", problem.message)
        self.load(smtp_forward_ini=FORWARD + "[a.example]\nport=26\nmax_age=5\n")

    def test_bind(self) -> None:
        """An IPv6 address cannot be reached from an IPv4 one; a name may have both."""
        self.assertEqual(self.forward("[a.example]\nbind=::1\n").line, 5)
        self.load(smtp_forward_ini=FORWARD + "[a.example]\nbind=::1\nhost=mx.example\n")

    def test_top_level_only(self) -> None:
        """What holds for the whole file cannot stand in a section."""
        problem = self.forward("[a.example]\ncheck_recipient=true\n")
        self.assertIn("before the first section", problem.remedy)

    def test_many(self) -> None:
        """Ten thousand sections take no more than their share of time, good or bad."""
        good = "".join(f"[d{n}.example]\nhost=mx{n % 100}.example\n" for n in range(10000))
        started = time.process_time()
        routes = self.load(smtp_forward_ini=FORWARD + good).routes
        self.assertEqual(len(routes.sections), 10000)
        self.assertEqual(len({id(route.next_hop) for route in routes.sections.values()}), 100)
        problems = self.problems(smtp_forward_ini=FORWARD + good.replace("host", "hst"))
        self.assertEqual(len(problems), 10000)
        self.assertLess(time.process_time() - started, 20)


class WrongTests(DirectoryCase):
    """Each kind of wrong setting."""

    def test_values(self) -> None:
        """A wrong value is named with its line, its key, and what would be right."""
        for text, remedy in {
            "port=x": "a whole number from 1 to 65535",
            "port=0": "a whole number from 1 to 65535",
            "port=65536": "a whole number from 1 to 65535",
            "port=+25": "a whole number from 1 to 65535",
            "port=2_5": "a whole number from 1 to 65535",
            "port=": "a whole number from 1 to 65535",
            "port[]=25": "one value, as key=value without []",
            "timeout=0": "a positive number of seconds, at most 604800 (a week)",
            "timeout=-1": "a positive number of seconds, at most 604800 (a week)",
            "timeout=nan": "a positive number of seconds, at most 604800 (a week)",
            "timeout=1e3": "a positive number of seconds, at most 604800 (a week)",
            "timeout=30s": "a positive number of seconds, at most 604800 (a week)",
            "max_connections=0": "a whole number, at least 1",
            "max_messages=1.5": "a whole number, at least 1",
            "bind=localhost": "an IP address of this host, without brackets",
            "bind_helo=a_b": "a host name such as mail.example.com",
            "partial_rejection=lern": "learn or reject; did you mean learn?",
            "domain_selector=rcptto": "rcpt_to or mail_from; did you mean rcpt_to?",
            "enable_outbound=ture": "true or false; did you mean true?",
        }.items():
            problem = self.forward(text + "\n")
            self.assertEqual((problem.line, problem.remedy), (4, remedy), text)
            self.assertEqual(problem.key, text.partition("=")[0].removesuffix("[]"))

    def test_host(self) -> None:
        """A host is one name or one address."""
        for host in ("a b", "127.0.0.1:25", "a.example,b.example", "300.1.2.3", "::g", "", "a/b"):
            problem = self.only(smtp_forward_ini=f"host={host}\nenable_tls=no\n")
            self.assertEqual((problem.line, problem.key), (1, "host"), host)
        for host in ("::1", "[::1]", "mail_server", "bücher.example", "a.example."):
            self.load(smtp_forward_ini=f"host={host}\nenable_tls=no\n")

    def test_no_host(self) -> None:
        """Without a host nothing would claim the mail."""
        problem = self.only(smtp_forward_ini="port=25\n[a.example]\nhost=b.example\n")
        self.assertEqual((problem.key, problem.message), ("host", "is not set"))

    def test_server_values(self) -> None:
        """The same for smtp.ini."""
        for text in (
            *("listen=127.0.0.1:99999", "listen=", "listen=tcp:x", "port=0"),
            *("nodes=x", "nodes=-1", "nodes=256", "nodes=2.5", "nodes="),
            *("inactivity_timeout=0", "bare_newline=x", "auth_allow_plaintext=2", "smtps_port=0"),
            *("spool_dir=/nonexistent", "spool_after=-2", "spool_after=1k", "[max]\nbytes=0"),
            *("[max]\nline_length=511", "[max]\nerrors=0", "[headers]\nmax_received=many"),
            *("bare_newline_exempt=192.0.2.1/24", "bare_newline_exempt=mx.example.com"),
            *("[max]\nheader_bytes=0", "[max]\nconnections=0", "[max]\nconnections_per_ip=none"),
            *("[max]\nmemory=-1", "[max]\nmemory=256M", "[timeouts]\ncommand=0"),
        ):
            problem = self.only(smtp_ini=text)
            self.assertEqual(problem.line, 1 + text.count("\n"), text)
            self.assertEqual(os.path.basename(problem.file), "smtp.ini")
            self.assertTrue(problem.remedy)

    def test_listen_twice(self) -> None:
        """One address and port cannot be listened on twice."""
        problem = self.only(smtp_ini="listen=[::]:25,[::0]:25")
        self.assertIn("twice", problem.message)
        self.load(smtp_ini="listen=127.0.0.1:0,127.0.0.1:0")

    def test_listen_tls(self) -> None:
        """Without a certificate the port of TLS from the first byte cannot be listened on."""
        for listen in ("127.0.0.1:465", "tcp:465"):
            self.assertIn("TLS", self.only(smtp_ini=f"listen={listen}").message)
        problem = self.only(smtp_ini="smtps_port=4650\nlisten[]=127.0.0.1:465\nlisten[]=[::1]:4650")
        self.assertEqual((problem.line, problem.key), (2, "listen"))
        self.assertIn("[::1]:4650", problem.message)

    def test_unknown(self) -> None:
        """An unknown key is a problem: a near miss is named, otherwise what is known."""
        self.assertEqual(self.forward("max_conections=5\n").remedy, "did you mean max_connections?")
        self.assertEqual(self.forward("Port=5\n").remedy, "did you mean port?")
        remedy = self.forward("[a.example]\nzzz=5\n").remedy
        self.assertIn("one of host, port", remedy)
        self.assertIn("auth_pass", remedy)
        self.assertEqual(self.only(smtp_ini="bytes=5").remedy, "write it in [max]")
        self.assertEqual(
            self.only(smtp_ini="[max]\nnodes=0").remedy, "write it before the first section"
        )
        self.assertIn("did you mean max?", self.only(smtp_ini="[maxx]\nbytes=5").remedy)

    def test_replaced(self) -> None:
        """A key that Haraka has given up is a problem that names what stands in its place."""
        problem = self.only(smtp_ini="port=26\nlisten_host=127.0.0.1")
        self.assertEqual((problem.line, problem.key), (2, "listen_host"))
        self.assertEqual(problem.remedy, "listen=HOST:PORT in its place")
        self.assertNotIn("listen_host", self.only(smtp_ini="zzz=1").remedy)

    def test_timeouts(self) -> None:
        """A name that is not known there is a problem, with the one that is near."""
        self.assertEqual(
            self.only(smtp_ini="[timeouts]\nfirst_comand=9").remedy, "did you mean first_command?"
        )
        remedy = self.only(smtp_ini="[timeouts]\nidle=9").remedy
        self.assertEqual(remedy, "one of first_command, command, data")
        self.assertEqual(
            self.only(smtp_ini="[timeouts]\ninactivity_timeout=9").remedy,
            "write it before the first section",
        )

    def test_secret(self) -> None:
        """A secret appears in no message, however its key or line is wrong."""
        text = (
            "auth_pass=hunter2\nauth_pas=hunter2\nauth_pass: hunter2\n[a.example]\n"
            "auth_pass=hunter2\nauth_pass[]=hunter2\nauth_pass=hunter2\n=hunter2\n[hunter2\n"
        )
        problems = self.problems(smtp_forward_ini=FORWARD + text)
        self.assertEqual([problem.line for problem in problems], [4, 5, 6, 8, 9, 10, 11, 12])
        self.assertNotIn("hunter2", "\n".join(map(str, problems)))

    def test_files(self) -> None:
        """A missing smtp_forward.ini, and any file that cannot be read, is a problem."""
        path = self.directory()
        os.remove(os.path.join(path, "smtp_forward.ini"))
        for name in ("smtp.ini", "connection.ini", "tls.ini", "auth_flat_file.ini", *LIST_FILES):
            os.makedirs(os.path.join(path, name))
        error = self.assertRaises(config.ConfigurationError, config.load, path)
        self.assertEqual(
            [os.path.basename(problem.file) for problem in error.problems],
            [
                *("smtp.ini", "connection.ini", "tls.ini"),
                *("smtp_forward.ini", "auth_flat_file.ini", *LIST_FILES),
            ],
        )
        os.makedirs(os.path.join(path, "smtp_forward.ini"))
        error = self.assertRaises(config.ConfigurationError, config.load, path)
        self.assertNotIn("is not there", str(error))

    def test_both_files(self) -> None:
        """A key in both files names the other place."""
        problem = self.only(smtp_ini="[max]\nbytes=1\n", connection_ini="[max]\n\nbytes=2\n")
        self.assertEqual((os.path.basename(problem.file), problem.line), ("connection.ini", 3))
        self.assertIn("smtp.ini:2", problem.message)

    def test_all_at_once(self) -> None:
        """One run reports every problem of every file, in the order of files and lines."""
        problems = self.problems(
            me="a b\n",
            smtp_ini="prot=25\nport=99999\nport=1\n[max]\nbytes=x\\\ny\nerrors=0\n",
            connection_ini="nonsense\n",
            smtp_forward_ini="host=127.0.0.1\nbind=x\nbind=y\n[a.example]\nmax_age=1\n[A.example]\n",
            host_list="a b\n",
            host_list_regex="(\n",
            relay_acl_allow="x\n",
            tls_ini="ca=x\n[outbound]\nca=nowhere\n",
            auth_flat_file_ini="[users]\nuser@example.com=\n",
        )
        self.assertEqual(
            [(os.path.basename(p.file), p.line, p.key) for p in problems],
            [
                ("me", 1, None),
                ("smtp.ini", 1, "prot"),
                ("smtp.ini", 2, "port"),
                ("smtp.ini", 3, "port"),
                ("smtp.ini", 5, "bytes"),
                ("smtp.ini", 7, "errors"),
                ("connection.ini", 1, None),
                ("tls.ini", 1, "ca"),
                ("tls.ini", 3, "ca"),
                ("smtp_forward.ini", 2, "bind"),
                ("smtp_forward.ini", 3, "bind"),
                ("smtp_forward.ini", 5, "max_age"),
                ("smtp_forward.ini", 6, None),
                ("auth_flat_file.ini", 2, "user@example.com"),
                ("host_list", 1, None),
                ("host_list_regex", 1, None),
                ("relay_acl_allow", 1, None),
            ],
        )

    @given(st.lists(LINES, max_size=8).map("\n".join))
    def test_anything(self, text: str) -> None:
        """Whatever the files hold, they give settings or problems, each in one line."""
        path = self.directory(
            **dict.fromkeys(
                ("smtp_forward_ini", "smtp_ini", "tls_ini", "auth_flat_file_ini"), text
            ),
            host_list=text,
            me=text,
        )
        for name in ("host_list_regex", "relay_acl_allow"):
            os.link(os.path.join(path, "host_list"), os.path.join(path, name))
        try:
            config.load(path)
        except config.ConfigurationError as error:
            self.assertEqual(str(error).count("\n"), len(error.problems) - 1)

    def test_one_line(self) -> None:
        """A problem is one printable line, whatever the file holds."""
        problem = self.only(smtp_ini="\x1b[31m=\n".replace("[", "("))
        self.assertTrue(str(problem).isprintable())
        self.assertEqual(printable("a\x1b\n"), "a\\x1b\\n")
        full = Problem("a.ini", 3, "port", "is wrong", "25")
        self.assertEqual(str(full), "a.ini:3: port: is wrong; 25")
        self.assertEqual(str(evolve(full, line=None, key=None)), "a.ini: is wrong; 25")


class WarningTests(DirectoryCase):
    """What is said but does not stop the start."""

    def warnings(self, **files: str) -> tuple[str, ...]:
        """The warnings of a good directory."""
        return self.load(**files).warnings

    def test_lacking(self) -> None:
        """One warning names all keys of Haraka that this gateway lacks."""
        (warning,) = self.warnings(
            smtp_ini="daemonize=true\nuser=smtp\n",
            connection_ini="[haproxy]\nhosts[] =\n[headers]\nmax_lines=1000\n[uuid]\ndeny_chars=0",
        )
        self.assertTrue(
            warning.endswith("daemonize, user, [haproxy], [headers] max_lines, [uuid]"), warning
        )

    def test_order(self) -> None:
        """The ordering rule of the timeouts is checked once, for all sections together."""
        sections = "[a.example]\nforward_timeout=30\n[b.example]\nforward_timeout=20\n"
        (warning,) = self.warnings(smtp_forward_ini=FORWARD + sections)
        self.assertIn("timeout is not below forward_timeout in [a.example] and in 1 more", warning)
        (warning,) = self.warnings(smtp_ini="inactivity_timeout=240")
        self.assertIn("forward_timeout is not below inactivity_timeout at the top level", warning)

    def test_fewer_connections_than_workers(self) -> None:
        """Workers that must take turns are a warning, once for all sections."""
        forward = FORWARD + "max_connections=2\n[a.example]\nhost=a.example\nmax_connections=1\n"
        self.assertEqual(self.warnings(smtp_forward_ini=forward), ())
        (warning,) = self.warnings(smtp_ini="nodes=2", smtp_forward_ini=forward)
        self.assertIn("max_connections is below nodes in [a.example]: the workers", warning)

    def test_nothing_accepted(self) -> None:
        """A gateway that takes nobody's mail says so."""
        (warning,) = self.warnings(smtp_forward_ini="host=a.example\nenable_tls=no\n")
        self.assertIn("host_list", warning)
