"""The edge relay: gRPC for the clients beside it, Eloquent across the link."""
