"""What loading a hostile file does: who refuses it, and that nothing runs.

`python -m tests.campaigns.hostile 5000` loads that many and prints the table of `docs/saved-files.md`.
"""

import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import keras
from hypothesis import HealthCheck, given, seed, settings

import keras_penalties
from tests.campaigns.hostile_files import hostile_archives, hostile_configs

OWN = str(Path(keras_penalties.__file__).parent)
SECONDS = 20
CLEAR = re.compile("`.+` of|must|needs| argument|Received")


class Guard:
    """Sees what Python is asked to do while a file is loaded. An audit hook stays, so there is one."""

    events = (
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.fork",
        "subprocess.Popen",
        "socket.connect",
        "pickle.",
    )

    def __init__(self):
        self.active, self.seen = False, []
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if self.active and (
            event.startswith(self.events)
            or (event == "import" and "canary" in str(arguments[0]))
            or (event == "open" and "canary" in str(arguments[0]) and not writes(arguments))
            or (
                event == "open"
                and writes(arguments)
                and not str(arguments[0]).startswith(tempfile.gettempdir())
            )
        ):
            self.seen.append((event, str(arguments[:2])))


def writes(arguments):
    return isinstance(arguments[1], str) and any(letter in arguments[1] for letter in "wax+")


GUARD = Guard()


class Hangs(BaseException):
    """Loading took too long."""


def _too_long(*_):
    raise Hangs


def load(data, seconds=SECONDS):
    """What loading the bytes of a file came to: `"loads"`, or who refused it and how.

    Raises `AssertionError` where code ran, where it took too long, or where this package's own code failed
    with anything but a plain `TypeError` or `ValueError`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hostile.keras"
        path.write_bytes(data)
        signal.signal(signal.SIGALRM, _too_long)
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
        GUARD.seen.clear()
        GUARD.active = True
        keras.config.disable_traceback_filtering()  # or the last frame is not where the error was raised
        try:
            keras.models.load_model(path)
            result = "loads"
        except Hangs:
            raise AssertionError(f"loading took more than {seconds} s") from None
        except Exception as error:
            result = refusal(error)
        finally:
            GUARD.active = False
            keras.config.enable_traceback_filtering()
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert not GUARD.seen, str(GUARD.seen)
        assert [p.name for p in Path(folder).iterdir()] == ["hostile.keras"]
        keras.backend.clear_session(free_memory=False)
        return result


def refusal(error):
    """Who raised the error, this package or Keras, and its class; of errors in a chain the first."""
    chain = [error]
    while chain[-1].__cause__ or (chain[-1].__context__ and not chain[-1].__suppress_context__):
        chain.append(chain[-1].__cause__ or chain[-1].__context__)
    own = [e for e in chain if e.__traceback__ and _raised_in(e).startswith(OWN)]
    if not own:
        return f"Keras: {type(chain[-1]).__name__}"
    clear = isinstance(own[-1], (TypeError, ValueError)) and CLEAR.search(str(own[-1]))
    assert clear, "".join(traceback.format_exception(error))
    return f"keras_penalties: {type(own[-1]).__name__}"


def _raised_in(error):
    return traceback.extract_tb(error.__traceback__)[-1].filename


def main(examples):
    resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))  # what asks for more fails, and the machine lives
    counts, failures, start, slowest = {}, {}, time.perf_counter(), 0.0

    def one(case):
        nonlocal slowest
        kind, data = case
        before = time.perf_counter()
        try:
            result = load(data)
        except AssertionError as error:
            result = "FAILED"
            failures[str(error).splitlines()[-1]] = error
        counts.setdefault(kind, Counter())[result] += 1
        slowest = max(slowest, time.perf_counter() - before)

    checks = list(HealthCheck)
    for share, strategy in ((0.75, hostile_configs()), (0.25, hostile_archives())):
        options = settings(
            max_examples=int(share * examples), deadline=None, database=None, suppress_health_check=checks
        )
        seed(0)(options(given(strategy)(one)))()
    show(counts)
    for error in failures.values():
        print(f"FAILED: {error}")
    total = sum(counter.total() for counter in counts.values())
    print(f"{total} files in {time.perf_counter() - start:.0f} s, the slowest {slowest:.1f} s")


def show(counts):
    from rich.console import Console
    from rich.table import Table

    table = Table(
        "what was done to the file", "files", "loads", "refused by this package", "by Keras", "failed"
    )
    for kind, counter in sorted(counts.items()):
        by = [
            sum(n for key, n in counter.items() if key.startswith(who))
            for who in ("keras_penalties", "Keras")
        ]
        table.add_row(kind, *map(str, (counter.total(), counter["loads"], *by, counter["FAILED"])))
    total = sum(counts.values(), Counter())
    Console(width=120).print(table)
    print(", ".join(f"{key} {n}" for key, n in total.most_common()))


if __name__ == "__main__":
    main(int(sys.argv[1]))
