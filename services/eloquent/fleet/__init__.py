"""Many labs, each on a machine of its own, and what they measure as one run (docs/scale.md)."""
