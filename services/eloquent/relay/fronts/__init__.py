"""What an edge relay offers to clients, a protocol a file."""
