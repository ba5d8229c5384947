"""Channels as pure functions: loss models, seeded schedules, and the scenarios that name them.

Three carriers obey what this package says: the simulator's link, netem, and the user-space wire. It knows the standard
library alone; every random number comes from a generator that is seeded from a string or injected.
"""
