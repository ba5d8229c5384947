"""Real time: the sans-IO endpoints of `eloquent.protocol` over real sockets.

A driver moves bytes and holds no protocol logic.
"""
