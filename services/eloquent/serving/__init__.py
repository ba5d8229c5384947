"""How answers are served, whoever serves them: who is let in, and what a gRPC server has beside its method."""
