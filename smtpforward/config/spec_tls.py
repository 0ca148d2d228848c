"""What may stand in ``tls.ini``. What Haraka documents and this gateway lacks: see ``spec.py``."""

from smtpforward.config.spec import WHOLE_SECTION, Spec

# Haraka's sections that hold names of hosts, one a line.
LISTS = frozenset({"mutual_auth_hosts", "mutual_auth_hosts_exclude", "no_tls_hosts"})
OF_NODE = frozenset(
    {
        "dhparam",
        "ecdhCurve",
        "enableOCSPStapling",
        "honorCipherOrder",
        "mutual_tls",
        "requestCert",
        "requestOCSP",
        "requireAuthorized",
        "secureProtocol",
    }
)

TLS = Spec(
    text="""
[main]
key = paths(default=None)
cert = paths(default=None)
ciphers = ciphers(default=None)
minVersion = tls_version(default=TLSv1.2)
no_starttls_ports = ports(default=None)
[outbound]
key = path(default=None)
cert = path(default=None)
ciphers = ciphers(default=None)
minVersion = tls_version(default=None)
ca = path(default=None)
rejectUnauthorized = boolean(default=false)
no_tls_hosts = hosts(default=None)
force_tls_hosts = hosts(default=None)
""",
    lacking={
        "main": OF_NODE | {"rejectUnauthorized"},
        "outbound": OF_NODE,
        "inbound": frozenset({WHOLE_SECTION}),
        "redis": frozenset({WHOLE_SECTION}),
        **{name: frozenset({WHOLE_SECTION}) for name in LISTS},
    },
    bare=LISTS,
)
