"""Make each mutation of urfb's code, one at a time, and run the tests that should fail for it.

    python -m tests.mutations              # all mutations
    python -m tests.mutations claims plan  # the mutations of files with one of these words in their path

A mutation for which no test fails has *survived*: a test is missing. `tests/test_mutations.py` checks that each
mutation still applies, so update the lists when code moves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.mutations import MUTATIONS
from tests.mutations.mutation import Mutation

ROOT = Path(__file__).parents[2]
SECONDS = 300
"""The time limit in seconds for the tests of one mutation. A mutation that makes a test hang counts as killed."""

KILLED, SURVIVED, NOT_RUN = "killed", "SURVIVED", "TESTS DO NOT RUN"


@dataclass(frozen=True)
class Result:
    """The result of one mutation.

    Attributes:
        mutation: the mutation.
        outcome: killed, survived, or tests not run.
        test: the first test that failed, or the end of pytest's output.
        seconds: the time that its tests took.
    """

    mutation: Mutation
    outcome: str
    test: str
    seconds: float


def pytest(checkout: Path, tests: Sequence[str], seconds: float | None = None) -> tuple[int, str]:
    """Run tests in a checkout up to the first failure, and return the exit code and the output."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no", *tests]
    environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    try:
        ended = subprocess.run(
            command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, f"FAILED no end after {seconds} s"
    return ended.returncode, ended.stdout + ended.stderr


def examine(mutation: Mutation, checkout: Path) -> Result:
    """Apply the mutation in a checkout, run its tests, and restore the file."""
    file = checkout / mutation.file
    original = file.read_bytes()
    began = time.monotonic()
    file.write_text(mutation.applied(checkout), encoding="utf-8")
    try:
        code, printed = pytest(checkout, mutation.tests, SECONDS)
    finally:
        file.write_bytes(original)
    failed = [line for line in printed.splitlines() if line.startswith(("FAILED", "ERROR"))]
    outcome = {0: SURVIVED, 1: KILLED}.get(code, NOT_RUN)
    said = failed[0] if failed else " ".join(printed.split())[-200:]
    return Result(mutation, outcome, said if outcome != SURVIVED else "", time.monotonic() - began)


@contextmanager
def checkouts(number: int) -> Iterator[list[Path]]:
    """Copy the project's files `number` times within the context."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="urfb-mutations-") as folder:
        copies = [Path(folder, str(place), "urfb") for place in range(number)]
        for copy in copies:
            for name in filter(None, listed.stdout.split("\0")):
                if (ROOT / name).exists():
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, copy / name)
        yield copies


def main(words: Sequence[str]) -> int:
    """Examine the mutations, and return how many were not killed, or an exit code if none can be examined."""
    chosen = [mutation for mutation in MUTATIONS if not words or any(word in mutation.file for word in words)]
    if not chosen:  # pytest without arguments would run all tests
        print(f"no mutation is in a file with {' or '.join(words)} in its path", file=sys.stderr)
        return 2
    workers = os.cpu_count() or 1
    with checkouts(workers) as copies, ThreadPoolExecutor(workers) as pool:
        tests = sorted({test for mutation in chosen for test in mutation.tests})
        code, printed = pytest(copies[0], tests)
        if code:
            print(printed, "\nthe tests fail without any mutation", file=sys.stderr)
            return code
        free: SimpleQueue[Path] = SimpleQueue()
        for copy in copies:
            free.put(copy)

        def examined(mutation: Mutation) -> Result:
            copy = free.get()
            try:
                return examine(mutation, copy)
            finally:
                free.put(copy)

        left = 0
        for result in pool.map(examined, chosen):
            left += result.outcome != KILLED
            print(f"{result.outcome}  {result.seconds:4.0f} s  {result.mutation}  {result.test}", flush=True)
    print(f"{len(chosen)} mutations: {len(chosen) - left} killed, {left} not")
    return left


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1:]), 100))
