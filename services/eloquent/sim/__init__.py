"""The simulator: virtual time over the same endpoints, channels and measures that the testbed uses."""
