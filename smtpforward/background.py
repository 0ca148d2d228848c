"""Long work in a thread beside the reactor, which is never to wait long for its turn.

Python lets one thread go on at a time. The reactor gives its turn away at each system call, dozens
of times a mail, and each time waits for it as long as the switch interval says: 5 ms as Python
comes. A search for cycles stops all threads until it has seen every object, the new ones too.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH = 0.0002


@contextmanager
def beside_the_reactor() -> Iterator[None]:
    """Meanwhile the threads take short turns, and nothing looks for cycles.

    It holds for the whole process: one such work at a time.
    """
    interval, enabled = sys.getswitchinterval(), gc.isenabled()
    sys.setswitchinterval(SWITCH)
    gc.disable()
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if enabled:
            gc.enable()
