"""The checksum of a stream's content, by which a receiver knows that it has joined the right tokens."""

from zlib import crc32

from eloquent.protocol.varint import encode_varint


def extend_checksum(checksum: int, token: bytes) -> int:
    """Return the checksum of a content that goes on with `token`.

    Args:
        checksum: CRC-32 so far; 0 for the empty content.
        token: The next token. Its length counts too, so that a wrong boundary between tokens is found.
    """
    return crc32(token, crc32(encode_varint(len(token)), checksum))
