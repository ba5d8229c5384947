"""The viewer: a person at a client host who reads answers."""
