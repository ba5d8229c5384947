import pytest
from pydantic import BaseModel, ConfigDict

from eloquent.errors import ConfigurationError
from eloquent.settings import check_settings


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    rounds: int = 1
    session_s: float = 30.0


def test_good_values_are_taken():
    assert check_settings(Asked, {"rounds": 3}) == Asked(rounds=3)


@pytest.mark.parametrize(
    ("values", "start"), [({"session_s": "long"}, "SESSION=long is not"), ({"turns": 2}, "TURNS=2 is not possible: ")]
)
def test_the_variable_of_a_wrong_value_is_named(values, start):
    with pytest.raises(ConfigurationError) as raised:
        check_settings(Asked, values)
    assert str(raised.value).startswith(start)
    assert "\n" not in str(raised.value)
