"""What holds for all tests."""

from hypothesis import settings

# The same examples on every run, and no deadline: other work on the machine must not fail a test.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
