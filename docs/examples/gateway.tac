"""The whole gateway as a service of a Twisted application: ``twistd -ny gateway.tac``.

The settings are read from the directory that SMTPFORWARD_CONFIG names.
"""

import os

from twisted.application.service import Application

from smtpforward import Options, makeService

options = Options()
options.parseOptions(["--config", os.environ.get("SMTPFORWARD_CONFIG", "/etc/smtpforward")])
application = Application("mail gateway")
makeService(options).setServiceParent(application)
