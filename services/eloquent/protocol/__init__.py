"""The sans-IO core: token streams over datagrams. Time is an argument; no clock, no socket, no global randomness."""
