"""What parts of the testbed cost and carry: `python -m bench`, and benchmarks of their own beside that (docs/benchmarks.md)."""
