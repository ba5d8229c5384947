"""The project's own senders: the paper's, the adaptive one, and plain retransmission."""
