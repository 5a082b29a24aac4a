"""Runs Synapse until it is told to stop, or until the process that started it is gone.

Standard input is a pipe from that process: however it ends, SIGKILL included, the pipe ends with it.
A working folder with a file named "temporary" in it goes then as well.
"""

import os
import shutil
import signal
import threading

from synapse.app.homeserver import main

parent_died = threading.Event()


def stop_when_parent_dies() -> None:
    while os.read(0, 4096):
        pass
    parent_died.set()
    last_resort = threading.Timer(5, give_up)
    last_resort.daemon = True
    last_resort.start()
    os.kill(os.getpid(), signal.SIGTERM)


def give_up() -> None:
    remove_folder()
    os._exit(1)


def remove_folder() -> None:
    if parent_died.is_set() and os.path.exists("temporary"):
        shutil.rmtree(os.getcwd(), ignore_errors=True)


threading.Thread(target=stop_when_parent_dies, daemon=True).start()
try:
    main()
finally:
    remove_folder()
