"""gRPC of our own for what streams: both ends, at a fraction of what a message costs grpcio (docs/adr/0007-grpc-of-our-own.md)."""
