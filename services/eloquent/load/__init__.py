"""The load test: what users do, how they are told from a starved tester, and what is asked of the result."""
