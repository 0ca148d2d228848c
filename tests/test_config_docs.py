"""docs/settings.md against what the configspecs know."""

import os
import re

from configobj import ConfigObj
from twisted.trial.unittest import SynchronousTestCase

from smtpforward.config.dialect import MAIN
from smtpforward.config.spec import FORWARD, LOGINS, SERVER, Spec
from smtpforward.config.spec_http import HTTP
from smtpforward.config.spec_outbound import OUTBOUND
from smtpforward.config.spec_tls import TLS

DOCUMENT = os.path.join(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "docs", "settings.md"
)
ROW = re.compile(r"^\| `(?:\[(\w+)\] )?(\w+)` \|.*\|([^|]*)\|$", re.MULTILINE)
DEFAULT = re.compile(r"default=([\w.]+)")


def documented(heading: str) -> dict[tuple[str, str], str]:
    """The keys of one chapter, with the text of their default."""
    with open(DOCUMENT, encoding="utf-8") as file:
        chapter = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## )", file.read(), re.M | re.S)
    assert chapter is not None
    return {(row[1] or MAIN, row[2]): row[3].strip("` ") for row in ROW.finditer(chapter[1])}


def working(spec: Spec) -> dict[tuple[str, str], str | None]:
    """The keys that work, with their default."""
    known = ConfigObj(spec.text.splitlines(), interpolation=False, list_values=False, _inspec=True)
    found = {}
    for section in known.sections:
        keys = [key for key in known[section].scalars if key != "__many__"]
        for key in keys if section != "__many__" else ():
            if (section, key) not in spec.replaced:
                default = DEFAULT.search(known[section][key])
                assert default is not None
                found[section, key] = None if default[1] == "None" else default[1]
    return found


class SettingsDocumentTests(SynchronousTestCase):
    """Each working key is documented, and nothing else."""

    def test_keys_and_defaults(self) -> None:
        """The tables hold exactly the working keys, with the defaults of the configspec."""
        for heading, spec in {
            "`smtp.ini` and `connection.ini`": SERVER,
            "`smtp_forward.ini`": FORWARD,
            "`outbound.ini`": OUTBOUND,
            "`tls.ini`": TLS,
            "`auth_flat_file.ini`": LOGINS,
            "`http.ini`": HTTP,
        }.items():
            told, known = documented(heading), working(spec)
            self.assertEqual(told.keys(), known.keys())
            for key, default in known.items():
                if default is not None:
                    self.assertEqual(told[key], default, key)

    def test_sections_have_no_defaults(self) -> None:
        """In a section of any name a default would hide what it inherits."""
        many = FORWARD.text.partition("[__many__]")[2]
        self.assertIn("max_age = seconds\n", many.replace("()", ""))
        self.assertNotIn("default", many)
