"""A mail gateway on Twisted: it answers the sender with the backend's own answer."""
