"""What may come of anything that is thrown at tinycnn, and what counts as a failure."""

from __future__ import annotations

import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

CPU_SECONDS = 5
MEMORY = 2**30
LONGEST_MESSAGE = 500

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
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGPROF, _too_long)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", ResourceWarning)


def failure(call: Callable[[], Any], clear: tuple[type[BaseException], ...] = CLEAR) -> str:
    """Run a call; return what is wrong with its outcome, '' if nothing is."""
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        call()
    except clear as error:
        length = len(str(error))
        return (
            f"a message of {length} characters: {error!s:.80}" if length > LONGEST_MESSAGE else ""
        )
    except (Exception, TooLong) as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__}: {error!s:.200} at {where.filename}:{where.lineno}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return ""


def finish(name: str, tried: int, failures: list[str]) -> None:
    """Report; exit with an error if anything failed."""
    for line in failures[:20]:
        print(line)
    print(f"{name}: {tried:,} tried, {len(failures)} failures", flush=True)
    if failures:
        sys.exit(1)
