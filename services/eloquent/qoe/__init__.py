"""Quality of experience as pure functions: stalls, lateness, redundancy, and their certainty (docs/measures.md)."""
