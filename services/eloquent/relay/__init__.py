"""The relay pair: an edge beside the client, an origin beside the server, and a path between them that does not stall.

A relay is a front, which speaks the server's own protocol; a carrier, which brings datagrams to the other side; and a scheme,
which decides what goes into which packet and when.
"""
