"""QUIC in virtual time: the relays over it beside what others do with it, on the same losses (docs/quic.md)."""
