"""The emulated lab: what the machine can do, the links and their carriers, the switches, and the run over them. Linux only."""
