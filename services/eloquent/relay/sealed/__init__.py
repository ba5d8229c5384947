"""Sealed UDP: the datagrams of a session inside authenticated encryption, as `docs/protocol.md` §8 lays it out.

An association is one handshake and its keys. It carries the plaintext datagrams of the endpoints of `eloquent.protocol`, which see
a constant address and know nothing of sealing: who is let in, migration and liveness are this layer's affair. All of it is
sans-IO but `key`, which reads and writes key files.
"""
