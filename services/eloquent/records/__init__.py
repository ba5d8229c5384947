"""What a run writes: the rows of its logs, its manifest, and where they lie."""
