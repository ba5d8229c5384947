"""The link probe: a trickle of datagrams that measures each link's loss."""
