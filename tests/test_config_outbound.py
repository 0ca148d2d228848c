"""``outbound.ini``: when there is a queue, what it is told, and what can be wrong with that."""

import os
import sys
from typing import Any
from unittest import mock, skipUnless

from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smtpforward import config
from smtpforward.config import store
from smtpforward.config.checks_outbound import intervals
from smtpforward.config.problems import Problem
from smtpforward.config.settings import Outbound, Settings
from smtpforward.config.values import WrongValueError
from smtpforward.job import TLS, Credentials, NextHop, PoolBounds, Server, Timeouts
from tests.test_config_load import FORWARD, DirectoryCase

QUEUED = "enable_outbound=false\n"
LOGIN = "auth_type=plain\nauth_user=user\nauth_pass=hunter2\n"
SMART = "smart_host=smtp.example:587\n"
ADDRESS = "postgresql://gateway:hunter2@db.example/queue"
try:
    import psycopg
except ImportError:
    psycopg = None  # type: ignore[assignment]


class OutboundCase(DirectoryCase):
    """A directory whose routes lead to the queue."""

    def queue(self, text: str = "", forward: str = QUEUED, **files: str) -> Outbound:
        """The settings of the queue of a good ``outbound.ini``."""
        loaded = self.load(smtp_forward_ini=FORWARD + forward, outbound_ini=text, **files)
        assert loaded.outbound is not None
        return loaded.outbound

    def wrong(self, text: str, **files: str) -> Problem:
        """The one problem of an ``outbound.ini``."""
        return self.only(smtp_forward_ini=FORWARD + QUEUED, outbound_ini=text, **files)

    def lasting(self) -> None:
        """Let no folder of the tests be one that gives a warning."""
        self.patch(store, "why_passing", lambda folder: "")


class OpenTests(OutboundCase):
    """When there is a queue."""

    def test_routes_that_lead_there(self) -> None:
        """Any route that can lead there opens it, without an outbound.ini."""
        for text in (
            QUEUED,
            "queue=outbound\n",
            "split_routes=queue\n",
            "[a.example]\nqueue=outbound\n",
            "[a.example]\nenable_outbound=no\n",
        ):
            loaded = self.load(smtp_forward_ini=FORWARD + text)
            assert loaded.outbound is not None, text
            self.assertEqual(loaded.outbound.store, f"sqlite:{self.queue_file}")

    def test_no_route(self) -> None:
        """Where nothing leads there, there is none."""
        for text in ("", "queue=smtp_forward\nenable_outbound=false\n", "split_routes=defer\n"):
            loaded = self.load(smtp_forward_ini=FORWARD + text)
            self.assertIsNone(loaded.outbound, text)
            self.assertEqual((loaded.warnings, loaded.routes.queues), ((), False))

    def test_the_file_is_there(self) -> None:
        """Its outbound.ini opens a queue to which no route leads any more: it may hold mail."""
        self.assertEqual(self.queue("", forward="").store, f"sqlite:{self.queue_file}")

    def test_the_default_store_is_there(self) -> None:
        """So does the file of the default store, without an outbound.ini."""
        self.write_queue()
        loaded = self.load()
        assert loaded.outbound is not None
        self.assertEqual(loaded.outbound.store, f"sqlite:{self.queue_file}")

    def test_the_default_store_of_another(self) -> None:
        """But not where it cannot be written: it may be another gateway's, and that is said."""
        self.write_queue()
        self.patch(os, "access", lambda path, right: path != self.queue_file)
        loaded = self.load()
        self.assertIsNone(loaded.outbound)
        [warning] = loaded.warnings
        self.assertIn(f"{self.queue_file} is not writable", warning)
        self.assertIn("stays there", warning)

    def test_the_file_without_a_place(self) -> None:
        """An outbound.ini for which nothing was ever queued does not stop a gateway without one.

        Where it says something, it is said that this has no effect.
        """
        os.rmdir(os.path.dirname(self.queue_file))
        loaded = self.load(outbound_ini="; nothing\n")
        self.assertEqual((loaded.outbound, loaded.warnings), (None, ()))
        loaded = self.load(outbound_ini="disabled=true\n")
        self.assertIsNone(loaded.outbound)
        [warning] = loaded.warnings
        self.assertIn("outbound.ini has no effect", warning)

    def test_the_queue_is_no_setting(self) -> None:
        """A commit to the queue's file is no change of the settings."""
        self.write_queue()
        files = self.load(smtp_forward_ini=FORWARD + QUEUED).files
        self.assertNotIn(self.queue_file, files)
        self.assertTrue(any(path.endswith("/outbound.ini") for path in files))

    def write_queue(self) -> None:
        """The default store has been used."""
        with open(self.queue_file, "wb"):
            pass


class GoodTests(OutboundCase):
    """What good values mean."""

    def test_defaults(self) -> None:
        """Without any key everything has the defaults of the settings class."""
        given = self.queue()
        server = Server("", 25, "me.example", tls=TLS.OFFERED)
        direct = NextHop((server,), Timeouts(), PoolBounds(max_connections=100, max_connecting=100))
        self.assertEqual(given, Outbound(store=f"sqlite:{self.queue_file}", direct=direct))

    def test_values(self) -> None:
        """Each key reaches its place."""
        text = (
            "store=sqlite:q.sqlite3\ndisabled=true\nconcurrency_max=7\npool_concurrency_max=3\n"
            "lease=20\n"
            "temp_fail_intervals=1m\ndelay_notice=30m\nalways_split=true\nreceived_header=by us\n"
            "local_mx_ok=yes\ninet_prefer=v6\nnameservers=192.0.2.53\nmx_port=2525\n"
            "bind=192.0.2.9\nbind_helo=out.example\nenable_tls=required\nconnect_timeout=1\n"
            "reply_timeout=2\nforward_timeout=40\ndot_timeout=4\ntimeout=5\nmax_age=6\n"
            "max_messages=8\n"
        )
        path = self.directory(smtp_forward_ini=FORWARD + QUEUED, outbound_ini=text)
        server = Server("", 2525, "out.example", "192.0.2.9", tls=TLS.REQUIRED)
        self.assertEqual(
            config.load(path).outbound,
            Outbound(
                store=f"sqlite:{os.path.abspath(path)}/q.sqlite3",
                disabled=True,
                concurrency_max=7,
                pool_concurrency_max=3,
                lease=20.0,
                intervals=(60.0,),
                delay_notice=1800.0,
                always_split=True,
                received_header="by us",
                local_mx_ok=True,
                inet_prefer="v6",
                direct=NextHop((server,), Timeouts(1, 2, 40, 4), PoolBounds(7, 5, 6, 8, 7)),
                nameservers=(("192.0.2.53", 53),),
            ),
        )

    def test_intervals(self) -> None:
        """``temp_fail_intervals`` as Haraka reads it, before ``maxTempFailures``."""
        for text, expected in {
            "temp_fail_intervals=1m, 5m*2, 1h*3": (60, 300, 300, 3600, 3600, 3600),
            "temp_fail_intervals=none": (),
            "temp_fail_intervals=NONE\nmaxTempFailures=3": (),
            "temp_fail_intervals= 30 S ,2D * 2": (30, 172800, 172800),
            "temp_fail_intervals=1.5h": (5400,),
            "temp_fail_intervals=7s\nmaxTempFailures=3": (7,),
            "maxTempFailures=1": (),
            "maxTempFailures=3": (64, 128),
            "": (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072),
        }.items():
            self.assertEqual(self.queue(text).intervals, expected, text)

    def test_an_interval_can_be_waited_for(self) -> None:
        """The longest of ``maxTempFailures`` is one that the reactor's timers can hold."""
        self.assertLess(self.queue("maxTempFailures=17").intervals[-1] * 1000, 2**31)

    def test_received_header(self) -> None:
        """Haraka's word for none, and nothing, are none."""
        for text in ("received_header=disabled", "received_header=DISABLED", "received_header="):
            self.assertIsNone(self.queue(text).received_header, text)

    def test_inet_prefer(self) -> None:
        """Haraka's word for no preference is IPv4 first."""
        for text, kind in (("default", "v4"), ("V4", "v4"), ("v6", "v6")):
            self.assertEqual(self.queue(f"inet_prefer={text}").inet_prefer, kind)

    def test_no_bound_for_a_destination(self) -> None:
        """``pool_concurrency_max=0`` is as many as there may be at all."""
        self.assertEqual(self.queue("pool_concurrency_max=0").pool_concurrency_max, 100)

    def test_nameservers(self) -> None:
        """Addresses, with a port or the usual one, each once."""
        text = "nameservers=192.0.2.1, 192.0.2.1:53 192.0.2.1:54;2001:db8::0001,[2001:db8::2]:5353"
        self.assertEqual(
            self.queue(text).nameservers,
            (("192.0.2.1", 53), ("192.0.2.1", 54), ("2001:db8::1", 53), ("2001:db8::2", 5353)),
        )
        self.assertEqual(self.queue("nameservers=[2001:db8::2]").nameservers[0][1], 53)

    def test_lacking(self) -> None:
        """What Haraka documents beyond is ignored, and named."""
        self.lasting()
        text = "ipv6_enabled=true\npool_timeout=50\nreceived_header=x\n"
        loaded = self.load(outbound_ini=text)
        self.assertEqual(
            loaded.warnings, ("this gateway lacks, and ignores: ipv6_enabled, pool_timeout",)
        )

    def test_note(self) -> None:
        """That there is no Received line of its own is noted, until the file says it."""
        for text, noted in (("", True), ("received_header=disabled", False)):
            notes = self.load(smtp_forward_ini=FORWARD + QUEUED, outbound_ini=text).notes
            self.assertEqual(any("received_header" in note for note in notes), noted, text)
        self.assertFalse(any("received_header" in note for note in self.load().notes))


class WrongTests(OutboundCase):
    """What is told with file, line, key and remedy."""

    def test_values(self) -> None:
        """A wrong value is a problem at its line, which says what would be right."""
        for text in (
            *("temp_fail_intervals=1m,", "temp_fail_intervals=", "temp_fail_intervals=5"),
            *("temp_fail_intervals=1w", "temp_fail_intervals=0s", "temp_fail_intervals=8d"),
            *("temp_fail_intervals=1m*0", "temp_fail_intervals=1m*1001", "temp_fail_intervals=1m*"),
            *("temp_fail_intervals=1m*2*3", "temp_fail_intervals=-1m", "temp_fail_intervals=1e2s"),
            *("maxTempFailures=0", "maxTempFailures=18", "delay_notice=4", "delay_notice=none"),
            *("received_header=(x", "received_header=a\\b", "received_header=ü"),
            *("concurrency_max=0", "pool_concurrency_max=-1", "inet_prefer=v5", "mx_port=0"),
            *("lease=9", "lease=3601", "lease=5m"),
            *("nameservers=dns.example", "nameservers=192.0.2.1:0", "nameservers=[192.0.2.1"),
            *("smart_host=a b", "smart_host=a.example:x", "smart_host=a,b", "bind=a.example"),
            *("enable_tls=maybe", "disabled=perhaps", "timeout=0", "received_header=" + "x" * 201),
        ):
            problem = self.wrong(f"; a comment\n{text}\n")
            self.assertEqual((problem.line, problem.key), (2, text.partition("=")[0]), text)
            self.assertEqual(os.path.basename(problem.file), "outbound.ini")
            self.assertTrue(problem.remedy)

    def test_unknown(self) -> None:
        """An unknown key is a problem with the near one."""
        problem = self.wrong("concurency_max=5\n")
        self.assertEqual(problem.remedy, "did you mean concurrency_max?")
        self.assertIn("[smtp] is not known", self.wrong("[smtp]\nx=1\n").message)

    def test_all_at_once(self) -> None:
        """Problems of the file stand behind those of smtp_forward.ini, each at its line."""
        problems = self.problems(
            smtp_forward_ini=FORWARD + QUEUED + "port=0\n",
            outbound_ini="mx_port=0\nstore=mysql:x\nauth_user=a\n",
            auth_flat_file_ini="[core]\nmethods=x\n",
        )
        places = [(os.path.basename(p.file), p.line, p.key) for p in problems]
        self.assertEqual(
            places[:4],
            [
                ("smtp_forward.ini", 5, "port"),
                ("outbound.ini", 1, "mx_port"),
                ("outbound.ini", 2, "store"),
                ("outbound.ini", 3, "auth_user"),
            ],
        )
        self.assertEqual(places[-1][0], "auth_flat_file.ini")

    @given(st.text(alphabet="0159.,*smhd none", max_size=12))
    @examples(max_examples=300, deadline=None)
    def test_any_intervals(self, text: str) -> None:
        """Whatever is written, it is a list of times that can be waited for, or wrong."""
        try:
            found = intervals(text)
        except WrongValueError as error:
            self.assertTrue(error.remedy)
        else:
            self.assertTrue(all(0 < seconds <= 604800 for seconds in found))
            self.assertEqual(found == (), text == "none")


class SmartHostTests(OutboundCase):
    """``smart_host`` and its login."""

    def server(self, text: str, **files: str) -> Server:
        """The one server of the smart host."""
        hop = self.queue(text, **files).smart_host
        assert hop is not None
        [server] = hop.servers
        return server

    def test_forms(self) -> None:
        """A host with a port or without."""
        for text, host, port in (
            ("smtp.example", "smtp.example", 25),
            ("SMTP.example:587", "smtp.example", 587),
            ("192.0.2.1:26", "192.0.2.1", 26),
            ("[2001:db8::1]:26", "2001:db8::1", 26),
        ):
            server = self.server(f"smart_host={text}\nmx_port=99")
            self.assertEqual((server.host, server.port), (host, port))
            self.assertEqual((server.tls, server.credentials), (TLS.OFFERED, None))
        self.assertEqual(self.server("smart_host=a.example\nenable_tls=implicit").port, 465)

    def test_values(self) -> None:
        """It has the file's name, address and times."""
        given = self.queue(f"{SMART}bind=192.0.2.9\nbind_helo=out.example\nreply_timeout=9")
        assert given.smart_host is not None
        server = Server("smtp.example", 587, "out.example", "192.0.2.9", tls=TLS.OFFERED)
        bounds = PoolBounds(max_connections=100, max_connecting=100)
        self.assertEqual(given.smart_host, NextHop((server,), Timeouts(reply=9), bounds))

    def test_login(self) -> None:
        """A login, its password here or in a file, is the smart host's alone."""
        for text in (LOGIN, LOGIN.replace("auth_pass=hunter2", "auth_pass_file=secret")):
            given = self.queue(SMART + text, secret="hunter2\n")
            assert given.smart_host is not None
            login = given.smart_host.servers[0].credentials
            self.assertEqual(login, Credentials("PLAIN", "user", "hunter2"))
            self.assertIsNone(given.direct.servers[0].credentials)
            self.assertNotIn("hunter2", repr(given))

    def test_login_without_one(self) -> None:
        """The servers of others are shown no login."""
        problem = self.wrong(LOGIN)
        self.assertEqual((problem.line, problem.key), (1, "auth_type"))
        self.assertIn("smart_host is not set", problem.message)

    def test_half_a_login(self) -> None:
        """A login that is not complete is a problem, as for a route."""
        problem = self.wrong(SMART + "auth_user=user\n")
        self.assertIn("auth_type is not set", problem.message)
        self.assertEqual(problem.line, 2)

    def test_tls_lists(self) -> None:
        """The lists of tls.ini hold for it, and what they contradict is a problem."""
        forced = {"tls_ini": "[outbound]\nforce_tls_hosts=smtp.example\n"}
        self.assertIs(self.server(SMART, **forced).tls, TLS.REQUIRED)
        without = {"tls_ini": "[outbound]\nno_tls_hosts=smtp.example\n"}
        self.assertIs(self.server(SMART, **without).tls, TLS.NEVER)
        problem = self.wrong(SMART + LOGIN, **without)
        self.assertEqual((problem.line, problem.key), (2, "auth_type"))
        problem = self.wrong(SMART + "enable_tls=required", **without)
        self.assertEqual((problem.line, problem.key), (2, "enable_tls"))

    def test_bind(self) -> None:
        """An address of the other kind cannot reach it."""
        problem = self.wrong("smart_host=192.0.2.1\nbind=::1")
        self.assertEqual((problem.line, problem.key), (2, "bind"))

    def test_bounds_of_its_own(self) -> None:
        """It has pools of its own: a route with the same server may bound that one otherwise."""
        forward = "[a.example]\nhost=smtp.example\nport=587\nmax_connections=5\nenable_tls=true\n"
        given = self.queue(SMART, forward=QUEUED + forward)
        assert given.smart_host is not None
        self.assertEqual(given.smart_host.bounds, given.direct.bounds)

    def test_warnings(self) -> None:
        """What is unusual about it is said."""
        self.lasting()
        for text, said in (
            (SMART + LOGIN + "enable_tls=false", "goes to the smart host in the clear"),
            (SMART + "enable_tls=implicit", "begin without TLS"),
            ("enable_tls=implicit", "begin without TLS"),
            ("timeout=240", "timeout is not below forward_timeout in outbound.ini"),
        ):
            warnings = self.load(smtp_forward_ini=FORWARD + QUEUED, outbound_ini=text).warnings
            self.assertEqual([said in warning for warning in warnings], [True], text)


class StoreTests(OutboundCase):
    """Where the queue is kept."""

    def test_sqlite(self) -> None:
        """A path in the directory, or an absolute one."""
        for text in ("q.sqlite3", "../q.sqlite3", self.queue_file):
            path = self.directory(smtp_forward_ini=FORWARD, outbound_ini=f"store=sqlite:{text}")
            given = config.load(path).outbound
            assert given is not None
            expected = os.path.abspath(os.path.join(path, text))
            self.assertEqual(given.store, f"sqlite:{expected}")

    def test_no_folder(self) -> None:
        """The folder of its file has to be there."""
        problem = self.wrong("disabled=1\nstore=sqlite:none/q.sqlite3")
        self.assertEqual((problem.line, problem.key), (2, "store"))
        self.assertIn("is no directory", problem.message)

    def test_no_default_folder(self) -> None:
        """So has that of the default, where a route leads to the queue."""
        os.rmdir(os.path.dirname(self.queue_file))
        problem = self.only(smtp_forward_ini=FORWARD + QUEUED)
        self.assertEqual((problem.line, problem.key), (None, "store"))
        self.assertIn("smtp_forward.ini leads mail to the outbound queue", problem.message)
        self.assertIn("outbound.ini", problem.file)
        self.assertIn("store=sqlite:PATH", problem.remedy)

    def test_a_directory(self) -> None:
        """A directory is no file."""
        self.assertIn("is a directory", self.wrong("store=sqlite:.").message)

    def test_not_writable(self) -> None:
        """Folder and file, if it is there, are writable."""
        with open(self.queue_file, "wb"):
            pass
        for refused in (os.path.dirname(self.queue_file), self.queue_file):
            self.patch(os, "access", lambda path, right, refused=refused: path != refused)
            problem = self.only(smtp_forward_ini=FORWARD + QUEUED)
            self.assertIn(f"{store.shown(refused)} is not writable", problem.message)

    def test_passing(self) -> None:
        """A folder whose content does not last gives a warning."""
        self.patch(store, "why_passing", lambda folder: f"in {folder}")
        [warning] = self.load(smtp_forward_ini=FORWARD + QUEUED).warnings
        self.assertIn(f"{self.queue_file} in {os.path.dirname(self.queue_file)}: mail", warning)

    def test_neither(self) -> None:
        """Anything else is a problem that does not show it: it may hold a password."""
        for text in ("mysql://u:hunter2@h/d", "hunter2", "sqlite3:q hunter2"):
            problem = self.wrong(f"store={text}")
            self.assertEqual((problem.line, problem.key), (1, "store"))
            self.assertNotIn("hunter2", str(problem))
        self.assertEqual(self.wrong("store=").line, 1)
        self.assertEqual(self.wrong("store[]=sqlite:a").line, 1)

    @skipUnless(psycopg, "psycopg is not installed")
    def test_postgresql(self) -> None:
        """An address of PostgreSQL is taken as it stands, and shown nowhere."""
        for address in (ADDRESS, ADDRESS.replace("ql", ""), "postgresql:///queue?host=/run"):
            given = self.queue(f"store={address}")
            self.assertEqual(given.store, address)
            self.assertNotIn("hunter2", repr(given))
            self.assertEqual(store.in_words(address), "PostgreSQL")

    @skipUnless(psycopg, "psycopg is not installed")
    def test_wrong_postgresql(self) -> None:
        """One that PostgreSQL would not take is a problem, which does not show it."""
        for address in (ADDRESS + "?hostt=hunter2", "postgres://u:hunter2@[::1/q"):
            problem = self.wrong(f"store={address}")
            self.assertIn("PostgreSQL does not take", problem.message)
            self.assertNotIn("hunter2", str(problem))

    def test_without_the_driver(self) -> None:
        """Without its driver the problem says what to install."""
        with mock.patch.dict(sys.modules, psycopg=None):
            problem = self.wrong(f"store={ADDRESS}")
        self.assertIn("needs the package psycopg", problem.message)
        self.assertEqual(problem.remedy, "pip install smtpforward[postgresql]")

    def test_from_a_file(self) -> None:
        """``store_file`` names a file with the address, which is one of the settings' files."""
        path = self.directory(outbound_ini="store_file=secret", secret="sqlite:q.sqlite3\n")
        loaded = config.load(path)
        assert loaded.outbound is not None
        self.assertTrue(loaded.outbound.store.endswith("/q.sqlite3"))
        self.assertIn(os.path.join(path, "secret"), loaded.files)

    def test_a_wrong_file(self) -> None:
        """What is wrong with that file, or what it holds, is a problem of the key."""
        for secret in ("", "a\nb", "mysql:hunter2"):
            problem = self.wrong("store_file=secret\n", secret=secret)
            self.assertEqual((problem.line, problem.key), (1, "store_file"))
            self.assertNotIn("hunter2", str(problem))
        self.assertIn("cannot be read", self.wrong("store_file=none").message)

    def test_two_addresses(self) -> None:
        """The address is given once."""
        problem = self.wrong("store=sqlite:q.sqlite3\nstore_file=secret", secret="sqlite:q.sqlite3")
        self.assertEqual((problem.line, problem.key), (2, "store_file"))
        self.assertIn("line 1", problem.message)

    def test_a_wrong_store_is_one_problem(self) -> None:
        """One that is wrong is not taken for none, for which there is the default."""
        os.rmdir(os.path.dirname(self.queue_file))
        self.assertEqual(self.wrong("store=").key, "store")


class PassingTests(SynchronousTestCase):
    """What does not last."""

    MOUNTS = (
        "/dev/a / ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n/dev/b /run/disk ext4 rw 0 0\n"
        "/dev/c /data ext4 rw 0 0\nnone /data tmpfs rw 0 0\n"
    )

    def why(self, folder: str, mounts: str | None = None) -> str:
        """Why what is kept in ``folder`` may go."""
        path = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.MOUNTS if mounts is None else mounts)
        return store.why_passing(folder, path)

    def test_memory(self) -> None:
        """File systems in memory, where one is the last that was mounted."""
        for folder, why in {
            "/var/lib/x": "",
            "/run/x": "is in memory",
            "/run": "is in memory",
            "/runner": "",
            "/run/disk/x": "",
            "/data/x": "is in memory",
        }.items():
            self.assertEqual(self.why(folder), why, folder)

    def test_swept(self) -> None:
        """/tmp, whatever it is."""
        self.assertEqual(self.why("/tmp/x"), "is under /tmp")
        self.assertEqual(self.why("/tmpfiles"), "")

    def test_not_known(self) -> None:
        """Where the system does not say what is mounted, nothing is said."""
        self.assertEqual(store.why_passing("/var/lib", self.mktemp()), "")
        self.assertEqual(self.why("/var/lib", ""), "")


class SettingsTests(SynchronousTestCase):
    """The values themselves."""

    def test_the_address_is_secret(self) -> None:
        """The store's address is in no ``repr`` of the settings."""
        made: Any = Outbound(store=ADDRESS)
        self.assertNotIn("hunter2", repr(made))
        self.assertEqual(Outbound().store, f"{store.SQLITE}{store.DEFAULT_FILE}")
        self.assertIsNone(Settings.__attrs_attrs__.outbound.default)  # type: ignore[attr-defined]
