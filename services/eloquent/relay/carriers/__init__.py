"""Ways that bring sealed datagrams to the other relay where UDP is blocked.

A carrier is a `DatagramTransport` of asyncio's, so that the drivers need not know which one it is.
"""
