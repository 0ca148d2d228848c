"""The configuration directory: files to frozen :class:`Settings`, or all that is wrong."""

from smtpforward.config.load import load
from smtpforward.config.problems import ConfigurationError, Problem
from smtpforward.config.settings import Settings

__all__ = ["ConfigurationError", "Problem", "Settings", "load"]
