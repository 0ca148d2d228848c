"""Real programs and a scripted backend for the integration tests.

All on loopback and free ports, in the foreground, each in a folder of its own, stopped by its own
process id when the test ends. Nothing here sleeps to wait for a peer: conditions are polled, with
a deadline.
"""
