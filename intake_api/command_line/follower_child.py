"""The process beside `anjuan serve` that keeps the views: started, watched, replaced when it dies or freezes, ended.

Beside, and not inside: folding shares one interpreter with whoever waits for an answer there. One thread watches over
one socket (see `intake_api.following`), whatever the number of workers. Nothing else has the socket's end that is held
here (no process inherits it), so that it closes when this process ends, by whatever means.
"""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from time import monotonic

import structlog

from intake_api.logs import configure_logs
from services.settings import Settings

_COMMAND = (sys.executable, "-m", "intake_api.following")
# Seconds between two looks; it says each second that it lives.
_LOOK = 2.0
# So many looks in a row without a word: it is frozen. Looks and not seconds, for whoever is stopped together with it
# (a machine that slept) finds it silent once. A start may take longer.
_SILENT, _STARTING = 3, 20
# Seconds until it is started again; less than the ten within which somebody has to lead.
_AGAIN, _LONGEST = 0.5, 5.0
# Seconds after which one that died had been well.
_WELL = 60.0
# Seconds for it to end by itself.
_ENDING = 5.0


@contextmanager
def following_beside(settings: Settings) -> Iterator[None]:
    """Have the views kept by a child meanwhile, if that is what is set."""
    if settings.follow != "child":
        yield
        return
    configure_logs(settings.log_level)
    child = FollowerChild()
    child.start()
    try:
        yield
    finally:
        child.stop()


class FollowerChild:
    """There is one until `stop`."""

    def __init__(self, command: Sequence[str] = _COMMAND) -> None:
        self._command = command
        self._ending = Event()
        self._line: socket.socket | None = None
        # Not to be waited for if somebody insists on ending (a second Ctrl-C): then the line closes, which is enough.
        self._thread = Thread(target=self._keep, name="follower", daemon=True)

    def start(self) -> None:
        """Have one, and another whenever it dies."""
        self._thread.start()

    def stop(self) -> None:
        """End it and wait until it is gone."""
        self._ending.set()
        if self._line:
            with contextlib.suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _keep(self) -> None:
        again = _AGAIN
        while not self._ending.is_set():
            began = monotonic()
            how = self._once()
            if self._ending.is_set():
                return
            again = _AGAIN if monotonic() - began > _WELL else again
            # Nobody who listens on standard output is no reason to leave the views alone.
            with contextlib.suppress(OSError, ValueError):
                structlog.get_logger().error("follower", ended_with=how, again_in=again)
            self._ending.wait(again)
            again = min(2 * again, _LONGEST)

    def _once(self) -> int | str:
        """One child from its start to its end; its exit code, or what kept it from starting."""
        here, there = socket.socketpair()
        with here:
            try:
                with there:
                    # In a session of its own, so that Ctrl-C in a terminal ends this process first.
                    child = subprocess.Popen(self._command, stdin=there.fileno(), start_new_session=True)
            except OSError as fault:
                return fault.strerror or type(fault).__name__
            self._line = here
            self._watch(here, child)
        return _ended(child)

    def _watch(self, line: socket.socket, child: "subprocess.Popen[bytes]") -> None:
        """Until it dies, is to end, or had to be killed."""
        line.settimeout(_LOOK)
        silent, patience = 0, _STARTING
        while not self._ending.is_set():
            try:
                if not line.recv(4096):
                    break
                silent, patience = 0, _SILENT
            except TimeoutError:
                silent += 1
                if silent >= patience:
                    child.kill()
                    return
            except OSError:
                break
        if self._ending.is_set():
            # One that hasn't come to reading its line yet ends at once.
            child.terminate()


def _ended(child: "subprocess.Popen[bytes]") -> int:
    """Its exit code, soon: its line is closed."""
    try:
        return child.wait(_ENDING)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
