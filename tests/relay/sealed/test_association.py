"""One side of an association: the golden vectors of docs/protocol.md §8, and what is counted."""

from hashlib import sha256

import pytest

from eloquent.errors import RemoteProtocolError
from eloquent.protocol.datagram import Answer, Datagram, Ping, encode_datagram
from eloquent.relay.sealed.account import Dropped, SealAccount
from eloquent.relay.sealed.association import Association
from eloquent.relay.sealed.noise import Initiator, Psk, Responder, TransportKeys
from eloquent.relay.sealed.packets import ACCEPT, INITIATION, PROLOGUE, Accept, Initiation, Status, Type
from eloquent.relay.sealed.padding import DEFAULT_PADDING
from eloquent.relay.sealed.transport import EPOCH_SIZE, EPOCH_TIME

PSK = Psk(bytes(range(32)), prologue=PROLOGUE)
CLIENT_INDEX, SERVER_INDEX = bytes.fromhex("01020304"), bytes.fromhex("05060708")


def handshake() -> tuple[bytes, bytes, TransportKeys, TransportKeys]:
    """An initiation, its acceptance, and the keys of the client and of the server."""
    initiator = Initiator(PSK, bytes(range(0x20, 0x40)))
    first = initiator.write_first(Initiation(CLIENT_INDEX, bytes(range(0x64, 0x7A))).encode())
    accept = Accept(Status.BEGUN, SERVER_INDEX, bytes(range(22))).encode()
    second, servers = Responder.read(PSK, first).write_second(bytes(range(0x40, 0x60)), accept)
    payload, clients = initiator.read_second(second)
    assert payload == accept
    return bytes([INITIATION]) + first, bytes([ACCEPT]) + CLIENT_INDEX + second, clients, servers


def sides(account: SealAccount | None = None) -> tuple[Association, Association]:
    _, _, clients, servers = handshake()
    client = Association(
        clients,
        index=SERVER_INDEX,
        serial=bytes(4),
        is_client=True,
        padding=DEFAULT_PADDING,
        account=account or SealAccount(),
        now=0.0,
    )
    server = Association(
        servers,
        index=CLIENT_INDEX,
        serial=b"1234",
        is_client=False,
        padding=DEFAULT_PADDING,
        account=account or SealAccount(),
        now=0.0,
    )
    return client, server


def test_golden_vectors() -> None:
    initiation, accept, _, _ = handshake()
    client, server = sides()
    assert len(initiation) == 1200
    assert initiation.startswith(
        bytes.fromhex("30 358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254 305effc5")
    )
    assert initiation.endswith(bytes.fromhex("7f9d894a07709895f2726be80c2922c8"))
    assert sha256(initiation).hexdigest() == "634fc1918445b522163ec9edbaf541f2e9f1c1642d022b313b99adad2b670dac"
    assert accept == bytes.fromhex(
        "39 01020304 79a631eede1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a"
        "965a6c25d70d6ad4bea6906eef67eea1add6ac025d6bf2d8fab5a029013e9c4f55e92df86228d0adcb779d"
    )
    ping = client.seal_control(Type.PING, now=0.0)
    assert ping == bytes.fromhex(
        "31 05060708 00000000 adbde0af2ce3b12cccfd9459de57895ab314dae1303f16df28078caa0614"
        "9400d4f5f2e94eed641543f536cc8d7e57d796efb658ee2c81"
    )
    assert server.open(ping) == (0, Type.PING, b"")
    assert client.binding == server.binding


def test_a_sessions_datagram_changes_its_serial_on_the_way() -> None:
    account = SealAccount()
    client, server = sides(account)
    said = encode_datagram(Datagram(bytes(7) + b"\x05", 3, Ping()))
    sealed = client.seal_datagram(said, now=0.0)
    assert len(sealed) == 64
    assert server.open(sealed)[2] == encode_datagram(Datagram(b"1234\0\0\0\x05", 3, Ping()))
    answer = server.seal_datagram(encode_datagram(Datagram(b"1234\0\0\0\x05", 0, Answer(0, b"x"))), now=0.0)
    assert len(answer) == 192
    assert client.open(answer)[2] == encode_datagram(Datagram(bytes(7) + b"\x05", 0, Answer(0, b"x")))
    assert account.wire == 64 + 192
    assert account.content == 14 + 16
    assert account.sealing == 2 * 15
    assert account.padding == 64 + 192 - 30 - 30


def test_row_3_a_direction_has_keys_of_its_own() -> None:
    client, server = sides()
    for one in (client, server):
        with pytest.raises(Dropped, match="forged"):
            one.open(one.seal_control(Type.PING, now=0.0))


def test_what_somebody_with_the_key_seals_wrongly_is_his_fault_and_counts_as_come() -> None:
    client, server = sides()
    wrong = client.seal_control(Type.DATAGRAM, b"", now=0.0)
    with pytest.raises(RemoteProtocolError):
        server.open(wrong)
    with pytest.raises(Dropped, match="replayed"):
        server.open(wrong)


def test_what_did_not_come_is_seen_by_the_numbers() -> None:
    """The first and the third of five are lost, the fourth comes late; one that is repeated is none of them."""
    account = SealAccount()
    client, server = sides(account)
    sealed = [client.seal_control(Type.PING, now=0.0) for _ in range(5)]
    server.open(sealed[1])
    assert (account.expected, account.opened) == (2, 1)
    server.open(sealed[4])
    assert (account.expected, account.opened) == (5, 2)
    server.open(sealed[3])
    with pytest.raises(Dropped):
        server.open(sealed[3])
    assert (account.expected, account.opened) == (5, 3)


def test_numbers_that_an_epoch_leaves_out_are_no_losses() -> None:
    account = SealAccount()
    client, server = sides(account)
    for now in (0.0, 1.0, EPOCH_TIME, EPOCH_TIME + 1.0, 2 * EPOCH_TIME, 2 * EPOCH_TIME + 1.0):
        server.open(client.seal_control(Type.PING, now=now))
    assert server.highest > 2 * EPOCH_SIZE
    assert (account.expected, account.opened) == (6, 6)
