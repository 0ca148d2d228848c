"""What may stand in each ini file: the configspecs, and which keys of Haraka do nothing here.

Rules: ``replaced`` names old keys of Haraka that have another in their place. What Haraka documents
and this gateway lacks (``lacking``) is ignored with a warning. Checks: ``checks.py``.
"""

import re
from collections.abc import Mapping

from attrs import field, frozen

Key = tuple[str, str]
WHOLE_SECTION = "*"
LEAVE_OUT = "leave the key out"


@frozen
class Spec:
    """One file, or several that are one.

    :ivar text: the configspec; ``[__many__]`` speaks of sections of any name.
    :ivar replaced: by key that Haraka once had, what stands in its place.
    :ivar lacking: by section, the keys that Haraka documents; ``*`` for the whole section.
    :ivar main_only: keys that a section of any name cannot set.
    :ivar bare: sections whose lines may be keys alone.
    """

    text: str
    replaced: Mapping[Key, str] = field(factory=dict)
    lacking: Mapping[str, frozenset[str]] = field(factory=dict)
    main_only: frozenset[str] = frozenset()
    bare: frozenset[str] = frozenset()


SERVER = Spec(
    text="""
[main]
listen = listeners(default=None)
port = whole(1, 65535, default=25)
listen_host = anything(default=None)
smtps_port = whole(1, 65535, default=465)
nodes = nodes(default=0)
log_format = option(line, postfix, json, default=line)
inactivity_timeout = seconds(default=300)
force_shutdown_timeout = seconds(default=30)
bare_newline = option(reject, normalize, default=reject)
bare_newline_exempt = networks(default=None)
auth_allow_plaintext = boolean(default=false)
debug_session = sessions(default=None)
spool_dir = directory(default=None)
spool_after = spool_after(default=1048576)
[max]
bytes = whole(1, unit=bytes, default=26214400)
line_length = whole(512, 32768, unit=bytes, default=512)
recipients = whole(1, default=1000)
errors = whole(1, default=20)
unrecognized_commands = whole(1, default=10)
header_bytes = whole(1, unit=bytes, default=1048576)
connections = whole(1, default=None)
connections_per_ip = whole(1, default=None)
errors_per_ip = whole(1, 10000, default=None)
memory = whole(0, unit=bytes, default=268435456)
[headers]
max_received = whole(1, default=100)
[timeouts]
first_command = seconds(default=None)
command = seconds(default=None)
data = seconds(default=None)
""",
    replaced={("main", "listen_host"): "listen=HOST:PORT"},
    lacking={
        "main": frozenset(
            {
                "daemon_log_file",
                "daemon_pid_file",
                "daemonize",
                "graceful_shutdown",
                "group",
                "ignore_bad_plugins",
                "public_ip",
                "smtputf8",
                "strict_rfc1869",
                "user",
            }
        ),
        "haproxy": frozenset({WHOLE_SECTION}),
        "headers": frozenset({"add_received", "clean_auth_results", "max_lines", "show_version"}),
        "max": frozenset({"data_line_length", "mime_parts"}),
        "message": frozenset({WHOLE_SECTION}),
        "uuid": frozenset({WHOLE_SECTION}),
    },
)

ROUTE_KEYS = """
host = host(default=None)
port = whole(1, 65535, default=None)
connect_timeout = seconds(default=30)
timeout = seconds(default=30)
max_connections = whole(1, default=1000)
reply_timeout = seconds(default=180)
forward_timeout = seconds(default=240)
dot_timeout = seconds(default=570)
max_age = seconds(default=240)
max_messages = whole(1, default=100)
max_connecting = whole(1, default=5)
bind = ip(default=None)
bind_helo = host_name(default=None)
partial_rejection = option(learn, reject, default=learn)
enable_tls = switch(required, implicit, default=true)
enable_outbound = boolean(default=true)
one_message_per_rcpt = boolean(default=false)
strict_8bit = boolean(default=false)
queue = option(smtp_forward, outbound, default=None)
auth_type = option(plain, login, default=None)
auth_user = login(default=None)
auth_pass = login(default=None)
auth_pass_file = path(default=None)
forwarding_host_pool = pool(default=None)
dead_forwarding_host_retry_secs = seconds(default=60)
"""

MAIN_ROUTE_KEYS = """
check_recipient = boolean(default=false)
check_sender = boolean(default=false)
domain_selector = option(rcpt_to, mail_from, default=rcpt_to)
split_routes = option(defer, queue, default=defer)
"""

# A section has no defaults: what it does not set, it inherits.
DEFAULT = re.compile(r",? *default=[^,)]*")

FORWARD = Spec(
    text=f"""
[main]
{MAIN_ROUTE_KEYS}
{ROUTE_KEYS}
[__many__]
{DEFAULT.sub("", ROUTE_KEYS)}
""",
    main_only=frozenset({"check_recipient", "check_sender", "domain_selector", "split_routes"}),
)

LOGINS = Spec(
    text="""
[main]
[core]
methods = mechanisms(default=None)
constrain_sender = boolean(default=true)
[users]
__many__ = secret
""",
)
