"""What may stand in ``http.ini``. What Haraka has and this gateway lacks: see ``spec.py``."""

from smtpforward.config.spec import Spec

HTTP = Spec(
    text="""
[main]
listen = listeners(default=None)
user = login(default=None)
password = secret(default=None)
password_file = path(default=None)
queue_changes = boolean(default=false)
""",
    lacking={"main": frozenset({"docroot"})},
)
