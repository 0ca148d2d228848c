"""A mail gateway on Twisted: it answers the sender with the backend's own answer.

These names are for programs that embed it; ``docs/embedding.md`` shows each at work.
"""

from smtpforward.client.connect import Connector
from smtpforward.client.pool import Pool
from smtpforward.client.target import ForwardTarget
from smtpforward.config import ConfigurationError, Settings, load
from smtpforward.content import Content
from smtpforward.dispatch import Dispatcher
from smtpforward.envelope import Address, Client, Envelope, Recipient
from smtpforward.interfaces import IDeliver, ISession
from smtpforward.job import Event, Job, NextHop, Outcome, PoolBounds, Server, Timeouts
from smtpforward.learned import LearnedRefusals
from smtpforward.reply import Reply
from smtpforward.server.factory import GatewayFactory
from smtpforward.service import Gateway, Options, makeService

__all__ = [
    "Address",
    "Client",
    "ConfigurationError",
    "Connector",
    "Content",
    "Dispatcher",
    "Envelope",
    "Event",
    "ForwardTarget",
    "Gateway",
    "GatewayFactory",
    "IDeliver",
    "ISession",
    "Job",
    "LearnedRefusals",
    "NextHop",
    "Options",
    "Outcome",
    "Pool",
    "PoolBounds",
    "Recipient",
    "Reply",
    "Server",
    "Settings",
    "Timeouts",
    "load",
    "makeService",
]
