"""How clients and users are shared out."""

import pytest

from eloquent.channel.schedule import Direction
from eloquent.errors import ConfigurationError
from eloquent.fleet.orders import deal
from eloquent.load.options import parse_load_options


def test_every_client_has_a_name_of_its_own():
    orders = deal("run", labs=3, clients=8, values={"seed": 5}, load=None)
    names = [(order.options.first_client, order.options.clients) for order in orders]
    assert names == [(1, 3), (4, 3), (7, 2)]
    assert [order.name for order in orders] == ["lab-1", "lab-2", "lab-3"]
    assert {order.options.seed for order in orders} == {5}
    assert not any(order.options.background for order in orders)


def test_a_client_meets_the_same_losses_however_many_labs_there_are():
    def digests(labs):
        return [
            order.options.scenario.schedule(Direction.DOWN, seed=order.options.seed, link=f"c{number}").digest(30.0)
            for order in deal("run", labs=labs, clients=6, values={}, load=None)
            for number in range(order.options.first_client, order.options.first_client + order.options.clients)
        ]

    assert digests(1) == digests(2) == digests(3)
    assert len(set(digests(3))) == 6


def test_eight_clients_a_lab_where_nothing_is_said():
    assert [order.options.clients for order in deal("run", labs=2, clients=None, values={}, load=None)] == [8, 8]


def test_users_are_shared_and_do_different_things():
    load = parse_load_options(users=5, seed=2)
    orders = deal("run", labs=2, clients=4, values={"rounds": 7}, load=load)
    assert [order.load.users for order in orders] == [3, 2]
    assert len({order.load.seed for order in orders}) == 2
    assert {(order.options.rounds, order.options.session_s) for order in orders} == {(1, 1.0)}


@pytest.mark.parametrize(
    ("labs", "clients", "users", "words"),
    [(3, 2, None, "CLIENTS=2 .* LABS=3"), (2, 4, 1, "USERS=1 .* LABS=2"), (1, 501, None, "CLIENTS=501")],
)
def test_what_does_not_go_round_is_refused(labs, clients, users, words):
    load = None if users is None else parse_load_options(users=users)
    with pytest.raises(ConfigurationError, match=words):
        deal("run", labs=labs, clients=clients, values={}, load=load)
