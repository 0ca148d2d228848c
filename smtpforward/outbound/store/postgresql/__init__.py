"""The queue in a PostgreSQL database, messages and all, which several gateways share."""

from smtpforward.outbound.store.postgresql.store import PostgreSQLStore

__all__ = ["PostgreSQLStore"]
