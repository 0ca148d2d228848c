"""What may stand in ``outbound.ini``. What Haraka has and this gateway lacks: see ``spec.py``."""

from smtpforward.config.spec import Spec

OUTBOUND = Spec(
    text="""
[main]
store = store(default=None)
store_file = path(default=None)
disabled = boolean(default=false)
concurrency_max = whole(1, default=100)
pool_concurrency_max = whole(0, default=10)
lease = whole(10, 3600, seconds, default=300)
temp_fail_intervals = intervals(default=None)
maxTempFailures = whole(1, 17, default=13)
delay_notice = time_span(default=4h)
always_split = boolean(default=false)
received_header = received_header(default=None)
smart_host = host_port(default=None)
auth_type = option(plain, login, default=None)
auth_user = login(default=None)
auth_pass = login(default=None)
auth_pass_file = path(default=None)
enable_tls = switch(required, implicit, default=true)
mx_port = whole(1, 65535, default=25)
local_mx_ok = boolean(default=false)
inet_prefer = option(default, v4, v6, default=v4)
nameservers = nameservers(default=None)
bind = ip(default=None)
bind_helo = host_name(default=None)
connect_timeout = seconds(default=30)
reply_timeout = seconds(default=180)
forward_timeout = seconds(default=240)
dot_timeout = seconds(default=570)
timeout = seconds(default=30)
max_age = seconds(default=240)
max_messages = whole(1, default=100)
""",
    lacking={"main": frozenset({"flush_queue", "ipv6_enabled", "load_pid_queue", "pool_timeout"})},
)
