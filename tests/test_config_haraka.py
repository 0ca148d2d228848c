"""Directories as Haraka's users have them: its documents' examples, and its default files."""

import os

from smtpforward.config.settings import Settings
from smtpforward.job import TLS
from tests.test_config_load import DirectoryCase

PER_DOMAIN = """\
# default SMTP host
host=1.2.3.4
# auth_type=plain
# auth_user=user
# auth_user=pass

[example1.com]
host=1.2.3.5
# auth_type=plain
# auth_user=user
# auth_pass=pass

[example2.com]
host=1.2.3.5

[example3.com]
host=1.2.3.6

[example4.com]
enable_outbound=false
"""
DEFAULT = {
    "smtp_forward_ini": """\
; host to connect to
host=localhost
;
; port to connect to
port=2555
;
; uncomment to enable TLS to the backend SMTP server
;enable_tls=true
;
;one_message_per_rcpt=true
;
; uncomment to use smtp client authorization
;auth_type=plain
;auth_user=
;auth_pass=

; enable_outbound=false
""",
    "tls_ini": """\
; key=tls_key.pem
; cert=tls_cert.pem
; dhparam=dhparams.pem

; minVersion=TLSv1
; honorCipherOrder=true
; requireAuthorized[]=465
; no_starttls_ports[]=2525

requestCert=true

[redis]
; disable_for_failed_hosts=true

[no_tls_hosts]
; 127.0.0.1
172.16.0.0/16

[mutual_auth_hosts]
;mx.example.net=special.example.com

[mutual_auth_hosts_exclude]

[outbound]
; key=tls_key.pem
no_tls_hosts[]=192.0.2.1
no_tls_hosts[]=192.0.2.128/25
; and other options from [main] section above
""",
    "smtp_ini": """\
; address to listen on (default: all IPv6 and IPv4 addresses, port 25)
;listen=[::0]:25
;listen=127.0.0.1:2529,127.0.0.2:2529,127.0.0.3:2530
;public_ip=N.N.N.N
;inactivity_timeout=300
;user=smtp
;group=smtp
;ignore_bad_plugins=0
;nodes=cpus
;daemonize=true
;daemon_log_file=/var/log/haraka.log
;daemon_pid_file=/var/run/haraka.pid
;force_shutdown_timeout=30
""",
    "connection_ini": """\
;
[main]

; spool_dir=/var/spool/haraka
; spool_after=
; strict_rfc1869 = false
; smtputf8=true

[haproxy]
; Array: hosts or CIDRs
hosts[] =
; hosts[] = 192.0.2.4

[headers]
; add_received=true
; show_version=true
max_lines=1000

max_received=100

[max]
; Integer. The maximum SIZE of an email
bytes=26214400
mime_parts=1000
line_length=512
data_line_length=992

[message]
; greeting[]=My Custom
helo=Haraka is at your service.
close=closing connection. Have a jolly good day.

[uuid]
banner_chars=6
deny_chars=0
""",
    "outbound_ini": """\
; disabled (default: false)
; concurrency_max=100
; received_header=Haraka outbound
""",
    "auth_flat_file_ini": """\
[core]
methods=CRAM-MD5
; constrain_sender=true

[users]
; matt=test
""",
    "host_list": "# add hosts in here we want to accept mail for\n; one a line\nmail.example.com\n",
}


class SeedTests(DirectoryCase):
    """The examples of the document that the gateway implements."""

    def load_forward(self, text: str) -> Settings:
        """Settings of one smtp_forward.ini."""
        return self.load(smtp_forward_ini=text)

    def test_seed_per_domain_example(self) -> None:
        """Each domain has its host; the last one inherits the default's and is not for relaying."""
        routes = self.load_forward(PER_DOMAIN).routes
        self.assertEqual(str(routes.default.next_hop), "1.2.3.4:25")
        self.assertTrue(routes.default.enable_outbound)
        hosts = {name: str(route.next_hop) for name, route in routes.sections.items()}
        self.assertEqual(
            hosts,
            {
                "example1.com": "1.2.3.5:25",
                "example2.com": "1.2.3.5:25",
                "example3.com": "1.2.3.6:25",
                "example4.com": "1.2.3.4:25",
            },
        )
        first, second = routes.sections["example1.com"], routes.sections["example2.com"]
        self.assertEqual(first.next_hop, second.next_hop)
        self.assertFalse(routes.sections["example4.com"].enable_outbound)

    def test_seed_per_domain_example_with_logins(self) -> None:
        """With its comments taken away the second name in the first block is a key given twice."""
        text = PER_DOMAIN.replace("# auth", "auth")
        problems = self.problems(smtp_forward_ini=text)
        self.assertEqual([(p.line, p.key) for p in problems], [(3, "auth_type"), (5, "auth_user")])
        routes = self.load_forward(text.replace("auth_user=pass", "auth_pass=pass")).routes
        logins = [route.next_hop.servers[0].credentials for route in routes.sections.values()]
        self.assertEqual([login is not None for login in logins], [True, False, False, True])

    def test_seed_check_recipient_example(self) -> None:
        """Two domains in a definition block each are all that check_recipient needs."""
        text = "host=1.2.3.4\ncheck_recipient=true\n[example.com]\n[example.net]\n"
        settings = self.load_forward(text)
        self.assertEqual(list(settings.routes.sections), ["example.com", "example.net"])
        self.assertEqual(settings.warnings, ())


class DefaultDirectoryTests(DirectoryCase):
    """Haraka's own default files."""

    def test_haraka_default_directory_loads(self) -> None:
        """It loads: one warning names what is lacking. Nothing is queued, as no route says so."""
        os.rmdir(os.path.dirname(self.queue_file))
        settings = self.load(**DEFAULT)
        [lacking] = settings.warnings
        self.assertEqual(
            lacking,
            "this gateway lacks, and ignores: [haproxy], [headers] max_lines, [max] mime_parts,"
            " [max] data_line_length, [message], [uuid], requestCert, [no_tls_hosts]",
        )
        self.assertIsNone(settings.outbound)
        (server,) = settings.routes.default.next_hop.servers
        self.assertEqual((str(server), server.tls), ("localhost:2555", TLS.OFFERED))
        self.assertEqual(settings.access.hosts, {"mail.example.com"})
        self.assertIn("192.0.2.200", settings.client_tls.no_tls_hosts)

    def test_notes(self) -> None:
        """Where Haraka's code has another default, a note says so until the file does."""
        notes = self.load(**DEFAULT).notes
        expected = ["enable_outbound", "enable_tls", "received_header"]
        self.assertEqual([note.split()[0] for note in notes], expected)
        text = DEFAULT["smtp_forward_ini"].replace(";enable_tls", "enable_tls")
        given = {**DEFAULT, "smtp_forward_ini": text, "outbound_ini": "received_header=disabled"}
        self.assertEqual(
            [note.split()[0] for note in self.load(**given).notes], ["enable_outbound"]
        )
