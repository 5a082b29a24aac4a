"""Runs Synapse until it is told to stop, or until the process that started it is gone.

Standard input is a pipe from that process: however it ends, SIGKILL included, the pipe ends with it.
"""

import os
import signal
import threading

from synapse.app.homeserver import main


def stop_when_parent_dies() -> None:
    while os.read(0, 4096):
        pass
    last_resort = threading.Timer(5, lambda: os._exit(1))
    last_resort.daemon = True
    last_resort.start()
    os.kill(os.getpid(), signal.SIGTERM)


threading.Thread(target=stop_when_parent_dies, daemon=True).start()
main()
