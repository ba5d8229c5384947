"""Eloquent: token streams that keep flowing over lossy networks, and the testbed that shows it."""

from eloquent import core

core.choose()
