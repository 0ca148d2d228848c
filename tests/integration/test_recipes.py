"""``docs/recipes``: the settings of each page are good, and its commands do what it says.

The gateway, PostgreSQL, HAProxy and Postfix are real ones. A Postfix of the test's own stands in
for the servers of others (Exchange, Office 365, Google, a provider): it has the TLS, certificate
and login that the page speaks of, and files what it gets. So a page's names of hosts, its ports and
its directories of root's are swapped in the copy that is run; ``CheckTests`` reads all as it is.
All clients are of loopback here: where a page lets some hosts relay, those are as well.
"""

import contextlib
import io
import os
import shlex
import sys
from itertools import pairwise
from pathlib import Path

from smtpforward.commands.main import main
from tests.integration.recipes import RECIPES, Recipe
from tests.integration.tlsservers import CA, CERTIFICATES, POSTFIX_LOGINS
from tests.peers import postgresql
from tests.peers.case import PeerTestCase
from tests.peers.clients import run
from tests.peers.dovecot import Dovecot
from tests.peers.gateway import TREE, environment, twistd_command
from tests.peers.ports import free_port
from tests.peers.postfix import Postfix
from tests.peers.process import Process
from tests.peers.require import require
from tests.peers.sink import SmtpSink
from tests.peers.wait import until

TESTED_BY = {
    "exchange": "test_exchange",
    "office365": "test_office365",
    "google-workspace": "test_google_workspace",
    "applications": "test_applications",
    "dovecot": "test_dovecot",
    "haproxy": "test_haproxy",
    "container": "test_container",
    "several-machines": "test_several_machines",
}
# Whatever it is for: a key, its certificate, the roots.
PAIR = CERTIFICATES["right"]
KEY = PAIR.private_key_pem.bytes().decode()
CERTIFICATE = PAIR.cert_chain_pems[0].bytes().decode()
ROOTS = CA.cert_pem.bytes().decode()
TRUST = {"tls.ini": "[outbound]\nca=roots.pem\n", "roots.pem": ROOTS}
PASSWORD = "a provider's password"
# A Postfix that files mail for these two domains in one mailbox.
ALL = {
    "virtual_mailbox_domains": "example.com, elsewhere.example",
    "virtual_mailbox_maps": "static:all/",
}
TO_QUEUE = "<ann@elsewhere.example>: to the outbound queue, from there to "


class RecipeCase(PeerTestCase):
    """Plays pages."""

    def listening(self, **more: str) -> dict[str, str]:
        """The swap of where the gateway listens, which is ``self.port`` from now on."""
        self.port = free_port()
        return {"listen=[::]:25": f"listen=127.0.0.1:{self.port}", **more}

    async def started(self, config: Path) -> Process:
        """A gateway with these settings, once it listens."""
        command = [*twistd_command(), "-n", "--pidfile=", "smtpforward", "--config", str(config)]
        gateway = Process(command, config.parent, environment(), f"gateway{self.port}")
        self.stop_later(gateway.stop)
        await gateway.until_listening(self.port)
        return gateway

    async def server(self, **settings: str) -> Postfix:
        """The server of somebody else: STARTTLS, and whatever it gets is filed for ``all``."""
        pair, roots = self.folder() / "pair.pem", self.folder() / "roots.pem"
        PAIR.private_key_and_cert_chain_pem.write_to_path(pair)
        CA.cert_pem.write_to_path(roots)
        files = {"smtpd_tls_chain_files": str(pair), "smtpd_tls_CAfile": str(roots)}
        tls = {"smtpd_tls_security_level": "encrypt", "smtpd_tls_received_header": "yes"}
        return await self.postfix("all", **{**ALL, **files, **tls, **settings})

    async def login_server(self, **users: str) -> Postfix:
        """The same, which takes mail from ``users`` alone."""
        server = await self.server(**POSTFIX_LOGINS)
        dovecot = Dovecot(self.folder(), server.private / "auth", users)
        self.stop_later(dovecot.stop)
        await dovecot.ready()
        return server

    async def until_filed(self, server: Postfix, count: int) -> list[bytes]:
        """What has come to ``server``, once it is so many."""
        await until(lambda: len(server.messages("all")) >= count, server.output)
        return server.messages("all")


class CheckTests(RecipeCase):
    """All pages as they stand."""

    def test_every_recipe_is_run(self) -> None:
        """No page without a test here, or without a place in the site's contents."""
        pages = {path.stem for path in RECIPES.glob("*.md")}
        self.assertEqual(set(TESTED_BY), pages)
        contents = (TREE / "docs" / "index.md").read_text("utf-8")
        for page, test in TESTED_BY.items():
            self.assertTrue(callable(getattr(RecipeTests, test, None)), test)
            self.assertIn(f"\nrecipes/{page}\n", contents)

    def test_settings(self) -> None:
        """``check`` finds nothing wrong with the settings, and has no warning.

        Certificates and passwords are made. A queue's directory, and the one of a container's
        secrets, are the test's own: its place under /tmp is the one thing to be warned of.
        """
        for page in TESTED_BY:
            folder = self.folder()
            (folder / "secrets").mkdir()
            for secret in ("backend", "http"):
                (folder / "secrets" / secret).write_text(f"{PASSWORD}\n")
            there = {"/var/lib/smtpforward": str(folder), "/run/secrets": str(folder / "secrets")}
            recipe = Recipe.read(page)
            told = "".join(recipe.files.values())
            recipe = recipe.swapped({old: new for old, new in there.items() if old in told})
            config = recipe.write(folder, self.secrets(told))
            output, code = self.check(config)
            self.assertEqual(code, 0, f"{page}:\n{output}")
            warnings = [line for line in output.splitlines() if line.startswith("warning: ")]
            odd = [line for line in warnings if f"{folder}" not in line or "/tmp" not in line]
            self.assertEqual(odd, [], page)

    def secrets(self, told: str) -> dict[str, str]:
        """What the settings name, and the page cannot show."""
        texts = {
            "internal-roots.pem": ROOTS,
            "gateway.key": KEY,
            "gateway.pem": CERTIFICATE,
            "secrets/provider": f"{PASSWORD}\n",
        }
        found = {name: text for name, text in texts.items() if f"={name}\n" in told}
        if "[users]" in told:
            found |= {"tls_key.pem": KEY, "tls_cert.pem": CERTIFICATE}
        return found

    def check(self, config: Path) -> tuple[str, int]:
        """What ``smtpforward check`` prints, both streams in one, and its exit code."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main(["check", "--config", str(config)])
        return said.getvalue(), code


class RecipeTests(RecipeCase):
    """Each page, played."""

    async def test_exchange(self) -> None:
        """Its certificate comes from an authority of the organisation's own."""
        server = await self.server()
        swaps = self.listening(
            **{
                "host=exchange.internal.example.com": f"host=127.0.0.1\nport={server.port}",
                "/var/lib/smtpforward": str(self.folder()),
            }
        )
        swaps["mx.example.com:25"] = f"127.0.0.1:{self.port}"
        recipe = Recipe.read("exchange").swapped(swaps)
        config = recipe.write(self.folder(), {"internal-roots.pem": ROOTS})
        said = await recipe.play(config, 0)
        self.assertIn(f"<bob@example.com>: to 127.0.0.1:{server.port}", said)
        self.assertIn(f"{TO_QUEUE}the MX hosts of elsewhere.example", said)
        self.assertIn("verification: good", said)
        await self.started(config)
        self.assertIn("result: sent in", await recipe.play(config, 1))
        straight, through = await self.until_filed(server, 2)
        self.assertNotIn(b"by mx.example.com", straight)
        self.assertIn(b"by mx.example.com", through)

    async def test_office365(self) -> None:
        """Its server asks for the gateway's certificate, and takes nobody else's mail."""
        server = await self.server(smtpd_tls_req_ccert="yes")
        name = "host=example-com.mail.protection.outlook.com"
        swaps = self.listening(
            **{
                f"smart_{name}": f"smart_host=127.0.0.1:{server.port}",
                name: f"host=127.0.0.1\nport={server.port}",
                "[outbound]\n": "[outbound]\nca=roots.pem\n",
                "192.0.2.0/24": "192.0.2.0/24\n127.0.0.1",
                "/var/lib/smtpforward": str(self.folder()),
            }
        )
        swaps["gateway.example.com:25"] = f"127.0.0.1:{self.port}"
        recipe = Recipe.read("office365").swapped(swaps)
        more = {"roots.pem": ROOTS, "gateway.key": KEY, "gateway.pem": CERTIFICATE}
        await self.both_ways(recipe, recipe.write(self.folder(), more), server)

    async def test_google_workspace(self) -> None:
        """Three hosts, and one that takes what goes out."""
        server = await self.server()
        names = "aspmx.l.google.com, alt1.aspmx.l.google.com, alt2.aspmx.l.google.com"
        ports = [server.port, self.relay(server.port).port, self.relay(server.port).port]
        swaps = self.listening(
            **{
                names: ", ".join(f"127.0.0.1:{port}" for port in ports),
                "smtp-relay.gmail.com:587": f"127.0.0.1:{server.port}",
                "192.0.2.0/24": "192.0.2.0/24\n127.0.0.1",
                "/var/lib/smtpforward": str(self.folder()),
            }
        )
        swaps["gateway.example.com:25"] = f"127.0.0.1:{self.port}"
        recipe = Recipe.read("google-workspace").swapped(swaps)
        said = await self.both_ways(recipe, recipe.write(self.folder(), TRUST), server)
        self.assertEqual(3, said.count("result: ready for mail"))

    async def both_ways(self, recipe: Recipe, config: Path, server: Postfix) -> str:
        """What is said before the gateway starts; three messages come, the last one goes out."""
        said = await recipe.play(config, 0)
        self.assertIn(f"<bob@example.com>: to 127.0.0.1:{server.port}", said)
        self.assertIn(f"{TO_QUEUE}the smart host 127.0.0.1:{server.port}", said)
        self.assertIn("verification: good", said)
        await self.started(config)
        sent = await recipe.play(config, 1)
        self.assertEqual(2, sent.count("result: sent in"), sent)
        filed = b"".join(await self.until_filed(server, 3))
        self.assertEqual(filed.count(b"Delivered-To: bob@example.com"), 2)
        self.assertEqual(filed.count(b"Delivered-To: ann@elsewhere.example"), 1)
        return said

    async def test_applications(self) -> None:
        """A login at the gateway, and one at the provider."""
        server = await self.login_server(**{"example.com": PASSWORD})
        both = "listen=[::]:25,[::]:465"
        self.port, secure = free_port(), free_port()
        swaps = {
            both: f"listen=127.0.0.1:{self.port},127.0.0.1:{secure}\nsmtps_port={secure}",
            "smtp.example.net:587": f"127.0.0.1:{server.port}",
            "host=smtp.example.net\nport=587": f"host=127.0.0.1\nport={server.port}",
            "mail.example.com:465": f"127.0.0.1:{secure}",
            "/tmp/password": str(self.folder() / "password"),
            "/var/lib/smtpforward": str(self.folder()),
        }
        recipe = Recipe.read("applications").swapped(swaps)
        own = {"tls_key.pem": KEY, "tls_cert.pem": CERTIFICATE}
        secret = {"secrets/provider": f"{PASSWORD}\n"}
        config = recipe.write(self.folder(), {**TRUST, **own, **secret})
        said = await recipe.play(config, 0)
        self.assertIn("login: PLAIN, accepted", said)
        self.assertEqual(2, said.count(f"{TO_QUEUE}the smart host 127.0.0.1:{server.port}"))
        await self.started(config)
        sent = await recipe.play(config, 1)
        self.assertIn("result: sent in", sent)
        [message] = await self.until_filed(server, 1)
        self.assertIn(b"Return-Path: <shop@example.com>", message)
        self.assertIn(b"with ESMTPSA", message)

    async def test_dovecot(self) -> None:
        """Postfix has the page's settings; ``smtp-sink`` takes LMTP in place of Dovecot's."""
        sink = SmtpSink(self.folder(), "-L", dump=True)
        self.stop_later(sink.stop)
        await sink.ready()
        mailboxes = self.folder() / "mailboxes"
        swaps = self.listening(
            **{
                "lmtp:unix:private/dovecot-lmtp": f"lmtp:inet:127.0.0.1:{sink.port}",
                "texthash:/etc/postfix/mailboxes": f"texthash:{mailboxes}",
            }
        )
        swaps["mx.example.com:25"] = f"127.0.0.1:{self.port}"
        recipe = Recipe.read("dovecot").swapped(swaps)
        mailboxes.write_text(recipe.files["/etc/postfix/mailboxes"])
        os.utime(mailboxes, (0, 0))
        lines = recipe.files["/etc/postfix/main.cf"].splitlines()
        settings = dict(line.split(" =", 1) for line in lines)
        lmtp = "lmtp unix - - n - - lmtp\n"
        postfix = Postfix(self.folder(), settings=settings, services=lmtp)
        self.stop_later(postfix.stop)
        await postfix.ready()
        recipe = recipe.swapped({"port=2526": f"port={postfix.port}"})
        config = recipe.write(self.folder(), {})
        self.assertIn("result: ready for mail", await recipe.play(config, 0))
        await self.started(config)
        said = await recipe.play(config, 1)
        self.assertIn("result: sent in", said)
        self.assertIn("<nobody@example.com>: the backend refused (550 5.1.1", said)
        await until(lambda: sink.messages == 2, postfix.output)
        self.assertTrue(all(b"bob@example.com" in dump for dump in sink.dumps()))

    async def test_dovecot_files(self) -> None:
        """Postfix and Dovecot read the lines for their files."""
        [postconf, doveconf] = require("postconf", "doveconf")
        folder, files = self.folder(), Recipe.read("dovecot").files
        (folder / "main.cf").touch()
        (folder / "master.cf").write_text(files["/etc/postfix/master.cf"])
        done = await run([postconf, "-c", str(folder), "-M"])
        self.assertEqual(0, done.exit_code, done.output)
        self.assertEqual(files["/etc/postfix/master.cf"].split(), done.output.split())
        (folder / "dovecot.conf").write_text(files["/etc/dovecot/conf.d/10-master.conf"])
        done = await run([doveconf, "-c", str(folder / "dovecot.conf"), "service/lmtp"])
        self.assertEqual(0, done.exit_code, done.output)
        self.assertIn("unix_listener /var/spool/postfix/private/dovecot-lmtp {", done.output)

    async def balanced(self, **swaps: str) -> tuple[Recipe, Path, list[Process], Process, int]:
        """Two gateways and HAProxy before them: the page, settings, both, it and its port."""
        [haproxy] = require("haproxy")
        self.taken = self.backend()
        front, folder = free_port(), self.folder()
        host = {"host=mail.internal.example.com": f"host=127.0.0.1\nport={self.taken.port}"}
        page, places, gateways = Recipe.read("haproxy"), {}, []
        for number in (1, 2):
            recipe = page.swapped({**self.listening(), **host})
            gateways.append(await self.started(recipe.write(self.folder(), {})))
            places[f"192.0.2.1{number}:25"] = f"127.0.0.1:{self.port}"
        here = {"mx.example.com:25": f"127.0.0.1:{front}", "bind :25": f"bind 127.0.0.1:{front}"}
        recipe = page.swapped({**self.listening(), **host, **places, **here, **swaps})
        settings = folder / "haproxy.cfg"
        settings.write_text(recipe.files["/etc/haproxy/haproxy.cfg"])
        proxy = Process([haproxy, "-db", "-f", str(settings)], folder, name="haproxy")
        self.stop_later(proxy.stop)
        await proxy.until_listening(front)
        return recipe, recipe.write(self.folder(), {}), gateways, proxy, front

    async def test_haproxy(self) -> None:
        """Mail passes through a real one, also when a gateway has gone; nobody relays."""
        recipe, config, gateways, proxy, _ = await self.balanced(**{"inter 10s": "inter 200ms"})
        self.assertIn("result: ready for mail", await recipe.play(config, 0))
        self.assertIn("refused", await recipe.play(config, 1))
        await gateways[0].terminate()
        await proxy.until(lambda: "smtp/gateway1 is DOWN" in proxy.output(), "it is missed")
        for _ in range(2):
            self.assertIn("result: sent in", await recipe.play(config, 1))
        self.assertEqual(3, len(self.taken.messages))

    async def test_haproxy_send_proxy(self) -> None:
        """With the PROXY protocol no mail passes."""
        *_, config, _, _, front = await self.balanced(**{"check inter 10s": "send-proxy"})
        command = [sys.executable, "-m", "smtpforward.commands.main", "send"]
        where = ["--config", str(config), "--server", f"127.0.0.1:{front}"]
        done = await run([*command, *where, "--to", "bob@example.com"], environ=environment())
        self.assertNotEqual(0, done.exit_code, done.output)
        self.assertEqual([], self.taken.messages)

    async def test_container(self) -> None:
        """What is run inside, with the image's settings; the engine's command is compared."""
        server = await self.login_server(gateway=PASSWORD)
        secrets, self.port, http = self.folder(), free_port(), free_port()
        for secret in ("backend", "http"):
            (secrets / secret).write_text(f"{PASSWORD}\n")
            (secrets / secret).chmod(0o600)
        swaps = {
            "listen=[::]:2525": f"listen=127.0.0.1:{self.port}",
            "listen=[::]:8026": f"listen=127.0.0.1:{http}",
            "host=mail.internal.example.com": f"host=127.0.0.1\nport={server.port}",
            "/run/secrets": str(secrets),
        }
        recipe = Recipe.read("container").swapped(swaps)
        config = recipe.write(self.folder(), TRUST)
        await self.started(config)
        said = await recipe.play(config, 1)
        self.assertIn("220 mx.example.com", said)
        self.assertIn("mx.example.com  ready", said)
        self.assertIn("login: PLAIN, accepted", said)

    def test_container_commands(self) -> None:
        """The engine is told of paths and ports that the image has. No engine is run."""
        recipe = Recipe.read("container")
        build, start = map(shlex.split, recipe.blocks[0].replace("\\\n", "").splitlines())
        self.assertTrue((TREE / build[build.index("-f") + 1]).is_file())
        image = (TREE / "contrib" / "container" / "Containerfile").read_text("utf-8")
        self.assertEqual((build[3], start[-1]), ("smtpforward", "smtpforward"))
        given = dict(pairwise(start))
        self.assertIn("EXPOSE 2525\n", image)
        self.assertIn("25:2525", start)
        self.assertIn("listen=[::]:2525\n", recipe.files["smtp.ini"])
        mounted = {word.split(":")[1] for word in start if word.count(":") and "/" in word}
        used = {"/etc/smtpforward", "/run/secrets", "/var/lib/smtpforward"}
        self.assertEqual(mounted, used)
        self.assertIn('VOLUME ["/var/lib/smtpforward"]', image)
        self.assertGreater(int(given["--stop-timeout"]), 30)

    async def test_several_machines(self) -> None:
        """Two gateways on one database; the second goes on when the first is killed."""
        database = await postgresql.shared()
        taken, names = self.backend(), self.name_server()
        names.mx("elsewhere.example", (10, "mail.elsewhere.example"))
        names.address("mail.elsewhere.example", "127.0.0.1")
        address = "postgresql://smtpforward:PASSWORD@db.internal.example.com/mailqueue"
        hosts = "store1.internal.example.com, store2.internal.example.com"
        mx = f"mx_port={taken.port}\nlocal_mx_ok=true\nnameservers=127.0.0.1:{names.port}\n"
        swaps = {
            f"{address}?sslmode=verify-full&sslrootcert=system": database.address_of(
                database.new_database()
            ),
            hosts: f"127.0.0.1:{taken.port}, 127.0.0.1:{self.relay(taken.port).port}",
            "store_file=secrets/queue\n": f"store_file=secrets/queue\n{mx}",
            "192.0.2.128/25": "192.0.2.128/25\n127.0.0.1",
        }
        page, configs, gateways = Recipe.read("several-machines"), [], []
        for number in (1, 2):
            mine = page.swapped({**swaps, **self.listening()})
            configs.append(mine.write(self.folder(), {}))
            gateways.append(await self.started(configs[-1]))
            swaps[f"mx{number}.example.com:25"] = f"127.0.0.1:{self.port}"
        recipe = page.swapped(swaps)
        self.assertIn(f"{TO_QUEUE}the MX hosts", await recipe.play(configs[1], 0))
        self.assertEqual(2, (await recipe.play(configs[0], 1)).count("result: sent in"))
        await taken.until_taken(2)
        gateways[0].kill()
        second = recipe.swapped({swaps["mx1.example.com:25"]: swaps["mx2.example.com:25"]})
        self.assertEqual(2, (await second.play(configs[1], 1)).count("result: sent in"))
        await taken.until_taken(4)
