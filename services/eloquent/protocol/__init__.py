"""The sans-IO core: token streams over datagrams. Time is an argument; there is no clock, socket or global randomness."""
