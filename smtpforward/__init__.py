"""A mail gateway on Twisted: it answers the sender with the backend's own answer.

These names are for programs that embed it; ``docs/embedding.md`` shows each at work.
"""

from smtpforward.client.connect import Connector
from smtpforward.client.pool import Pool
from smtpforward.client.target import ForwardTarget
from smtpforward.config import ConfigurationError, Settings, load
from smtpforward.config.settings import Outbound, Route, Routes
from smtpforward.content import Content
from smtpforward.dispatch import Dispatcher
from smtpforward.envelope import Address, Client, Envelope, Recipient
from smtpforward.gateway import Gateway
from smtpforward.interfaces import IDeliver, IQueueStore, ISession
from smtpforward.job import (
    Delivery,
    Event,
    Job,
    NextHop,
    Outcome,
    PoolBounds,
    Server,
    Timeouts,
)
from smtpforward.learned import LearnedRefusals
from smtpforward.outbound.handover import Targets
from smtpforward.outbound.queue import OutboundQueue
from smtpforward.outbound.store.sqlite import SQLiteStore
from smtpforward.queueing import Queueing
from smtpforward.reply import Reply
from smtpforward.server.factory import GatewayFactory
from smtpforward.service import Options, makeService

__all__ = [
    "Address",
    "Client",
    "ConfigurationError",
    "Connector",
    "Content",
    "Delivery",
    "Dispatcher",
    "Envelope",
    "Event",
    "ForwardTarget",
    "Gateway",
    "GatewayFactory",
    "IDeliver",
    "IQueueStore",
    "ISession",
    "Job",
    "LearnedRefusals",
    "NextHop",
    "Options",
    "Outbound",
    "OutboundQueue",
    "Outcome",
    "Pool",
    "PoolBounds",
    "Queueing",
    "Recipient",
    "Reply",
    "Route",
    "Routes",
    "SQLiteStore",
    "Server",
    "Settings",
    "Targets",
    "Timeouts",
    "load",
    "makeService",
]
