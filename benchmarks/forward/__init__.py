"""Forwarding: the gateway, other servers that do it, and what bounds all of them."""
