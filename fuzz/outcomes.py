"""What may come of anything that is thrown at tinycnn, and what counts as a failure."""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

CPU_SECONDS = 5
WALL_SECONDS = 600  # of a call within compiled code that no signal interrupts
MEMORY = 2**30
MOST_ADDRESSES = 3 * 2**30  # so that what takes too much does not take all there is
LONGEST_MESSAGE = 500

# Tries in one process: what one of them leaves behind reaches the others of its block alone.
BLOCK = 5_000

# A clear refusal.
CLEAR = (ValueError, TypeError, OSError)


class TooLong(BaseException):
    """A call took more time than anything may; no `except Exception` stops it."""


def _too_long(*_: object) -> None:
    raise TooLong(f"more than {CPU_SECONDS} s")


def limit() -> None:
    """Bound the memory and the time of this process; warnings are errors, as in the tests."""
    np.ones((300, 300)) @ np.ones((300, 300))  # OpenBLAS takes its memory now, or ends the process
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    most = used + MOST_ADDRESSES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, _too_long)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", ResourceWarning)


def failure(call: Callable[[], Any], clear: tuple[type[BaseException], ...] = CLEAR) -> str:
    """Run a call; return what is wrong with its outcome, '' if nothing is."""
    before = _peak_memory()
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    try:
        call()
    except clear as error:
        length = len(str(error))
        if length > LONGEST_MESSAGE:
            return f"a message of {length} characters: {error!s:.80}"
    except (Exception, TooLong) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error!s:.200} at {where.filename}:{where.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    taken = _peak_memory() - before
    return f"{taken / 2**20:.0f} MB of memory" if taken > MEMORY else ""


def _peak_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def campaign(name: str, n: int, attempt: Callable[[int], str], seconds: float = np.inf) -> None:
    """Make N attempts, by number, in processes that may die; report, and exit with an error.

    Parameters
    ----------
    name : str
    n : int
    attempt : callable
        Takes a number, returns what is wrong, or ''.
    seconds : float
        After which no other block begins.
    """
    current, failures, number, end = mmap.mmap(-1, 8), [], 0, time.monotonic() + seconds
    while number < n and time.monotonic() < end:
        last = min(number + BLOCK, n)
        status, told = _run_block(range(number, last), attempt, current)
        if status:
            last = struct.unpack("q", current[:])[0] + 1
            told.append(f"attempt {last - 1} ended the process: {_death(status)}")
        for words in told:
            print(words, flush=True)
        failures += told
        number = last
    print(f"{name}: {number:,} tried, {len(failures)} failures", flush=True)
    sys.exit(bool(failures))


def _run_block(
    numbers: range, attempt: Callable[[int], str], current: mmap.mmap
) -> tuple[int, list[str]]:
    """Make some attempts in a child; return its status, and what was wrong."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        try:
            limit()
            with os.fdopen(writer, "w") as told:
                for number in numbers:
                    current[:] = struct.pack("q", number)
                    words = attempt(number)
                    if words:
                        told.write(json.dumps(f"attempt {number}: {words}") + "\n")
            os._exit(0)
        finally:
            os._exit(2)
    os.close(writer)
    with os.fdopen(reader) as told:
        lines = [json.loads(line) for line in told]
    return os.waitpid(pid, 0)[1], lines


def _death(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
