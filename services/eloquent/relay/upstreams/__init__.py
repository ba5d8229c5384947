"""How an origin relay asks the model server, a protocol a file."""
