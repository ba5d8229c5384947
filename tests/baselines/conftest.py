"""Baselines meet the same virtual network as the protocol's own senders do."""

from tests.protocol.conftest import net

__all__ = ["net"]
