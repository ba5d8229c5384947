"""The token server: a model's answers, over gRPC and HTTP."""
