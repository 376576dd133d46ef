"""What holds for all tests."""

import os
from collections.abc import Iterator

import pytest
from fairnas.common import text
from hypothesis import settings

# One of several processes that test at once: threads that wait for each other would only lose their cores. Said before
# torch is imported, and inherited by the processes that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# The same examples on every run, and no deadline: other work on the machine must not fail a test.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _nothing_hidden() -> Iterator[None]:
    """A process that was given a password shows it nowhere; the next test's may be a word of its output."""
    yield
    text._hidden.clear()
