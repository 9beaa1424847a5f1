"""Hypothesis without a stopwatch: on a busy machine an example may take long, which is no fault of the code."""

from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
