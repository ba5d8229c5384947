"""Runs of the lab, replayed in virtual time over the schedules that they met."""
