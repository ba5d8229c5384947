"""The carrier `quic`: datagrams of the protocol in DATAGRAM frames of QUIC (RFC 9221), by aioquic.

Sans-IO like `relay/sealed/`: time is an argument, datagrams go in and come out. aioquic draws its connection ids and keys itself.
"""
