import pytest

from eloquent.errors import ConfigurationError
from eloquent.relay.sealed.padding import Padding, padded


def test_the_least_size_with_room() -> None:
    assert [padded(size, (64, 192, 1200)) for size in (1, 64, 65, 192, 193, 1200)] == [64, 64, 192, 192, 1200, 1200]
    assert padded(77, ()) == 77


@pytest.mark.parametrize("sizes", [(), (64,), (192, 64, 1200), (64, 64, 1200), (64, 1300)])
def test_sizes_ascend_to_that_of_the_largest_datagram(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="ascend, and end with 1200"):
        Padding(client=sizes)
    with pytest.raises(ConfigurationError, match="ascend, and end with 1200"):
        Padding(server=sizes)
