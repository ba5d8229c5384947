"""What a user sets, checked against its model; a wrong value is one sentence that names the variable."""

from collections.abc import Mapping
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from eloquent.errors import ConfigurationError

Settings = TypeVar("Settings", bound=BaseModel)


def check_settings(model: type[Settings], values: Mapping[str, object]) -> Settings:
    """Check values against their model.

    Args:
        model: What is possible. A field `session_s` is the user's variable SESSION.
        values: Fields of the model.

    Raises:
        ConfigurationError: One of them is unusable; the message names it.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0]).removesuffix("_s").upper()
        raise ConfigurationError(f"{name}={problem['input']} is not possible: {problem['msg']}") from None
