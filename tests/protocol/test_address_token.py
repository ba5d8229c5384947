from eloquent.protocol.address_token import ADDRESS_TOKEN_LIFETIME, AddressTokens
from eloquent.protocol.datagram import ADDRESS_TOKEN_SIZE

HERE, THERE = ("10.0.0.1", 1000), ("10.0.0.1", 1001)


def test_a_token_is_good_for_its_address_until_it_is_too_old() -> None:
    tokens = AddressTokens(b"s" * 16)
    token = tokens.issue(HERE, now=5.0)
    assert len(token) == ADDRESS_TOKEN_SIZE
    assert tokens.is_valid(token, HERE, now=5.0)
    assert tokens.is_valid(token, HERE, now=5.0 + ADDRESS_TOKEN_LIFETIME)
    assert not tokens.is_valid(token, HERE, now=5.1 + ADDRESS_TOKEN_LIFETIME)
    assert not tokens.is_valid(token, THERE, now=5.0)
    assert not AddressTokens(b"t" * 16).is_valid(token, HERE, now=5.0)  # a restarted server


def test_no_other_token_counts() -> None:
    tokens = AddressTokens(b"s" * 16)
    token = tokens.issue(HERE, now=5.0)
    for position in range(len(token)):
        forged = token[:position] + bytes([token[position] ^ 1]) + token[position + 1 :]
        assert not tokens.is_valid(forged, HERE, now=5.0)
    assert not tokens.is_valid(b"", HERE, now=5.0)


def test_older_tokens_can_be_refused() -> None:
    tokens = AddressTokens(b"s" * 16)
    old = tokens.issue(HERE, now=5.0)
    tokens.refuse_before(5.0)
    assert not tokens.is_valid(old, HERE, now=5.0)
    assert tokens.is_valid(tokens.issue(HERE, now=5.001), HERE, now=6.0)


def test_the_lifetime_can_be_short() -> None:
    tokens = AddressTokens(b"s" * 16, lifetime=15.0)
    token = tokens.issue(HERE, now=5.0)
    assert tokens.is_valid(token, HERE, now=20.0)
    assert not tokens.is_valid(token, HERE, now=20.1)


def test_a_token_tells_its_age():
    tokens = AddressTokens(b"s" * 16)
    assert AddressTokens.age(tokens.issue(("10.0.0.1", 1), now=100.25), now=100.75) == 0.5
