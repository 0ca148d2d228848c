"""Announces the gateway to twistd."""

from twisted.application.service import ServiceMaker

smtpforward = ServiceMaker("smtpforward", "smtpforward.service", "A mail gateway", "smtpforward")
