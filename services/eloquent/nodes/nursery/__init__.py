"""The nursery: one process that forks the nodes of a lab."""

MAX_MESSAGE = 1 << 16  # bytes of an order; the flags of a probe of 300 links are 10 kB
