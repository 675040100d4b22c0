"""Steps of a program: each is named, and the first that fails ends the program with its name."""

import os
import sys
import time
import traceback
from contextlib import contextmanager

RUN = os.environ["RUN"]


@contextmanager
def step(name):
    try:
        yield
    except BaseException:
        traceback.print_exc()
        print(f"FAILED: {name}", flush=True)
        # Threads of the SDK may still run.
        os._exit(1)
    print(f"passed: {name}", flush=True)


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def fails(expected, call):
    """The error of `call`, which must be one of this kind."""
    try:
        found = call()
    except expected as error:
        return error
    raise AssertionError(f"{expected} expected, not {found!r}")


def eventually(what, probe, seconds=30):
    """Asks again and again until there is an answer, and returns that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = probe()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


def finish():
    print("all steps passed", flush=True)
    sys.exit(0)
