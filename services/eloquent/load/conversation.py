"""What a user does: chats of several turns, with pauses to think, answers of realistic length, and sometimes a change of mind.

The distributions are choices, stated here, and not measurements:

- Answers: lognormal with the median asked for and a sigma of 0.8, cut to 8 ... 1000 tokens: at a median of 120 the mean is
  about 165 and one answer in ten exceeds 330, which is the skew that chat logs have.
- Pauses before a question: lognormal with the median asked for and a sigma of 0.6, at most 60 s.
- Turns of a chat: geometric with a mean of 4. The next chat begins at once, as another user's.
- One answer in twenty is left, at a moment evenly spread over its length.

All of it is a pure function of the seed, the client and the user, so that two tests with one seed have the same users.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from eloquent.errors import ConfigurationError

ANSWER_SIGMA = 0.8
SHORTEST_ANSWER, LONGEST_ANSWER = 8, 1000  # tokens
THINK_SIGMA = 0.6
LONGEST_THOUGHT = 60.0  # seconds
MEAN_TURNS = 4
LEFT_SHARE = 0.05  # of the answers


@dataclass(frozen=True, slots=True)
class Turn:
    """One question of a chat.

    Attributes:
        chat: Which chat of this user it belongs to, from 1.
        number: Its number among all the user's turns, from 1.
        think_s: Pause before it in seconds.
        prompt: The question.
        tokens: Length of the answer.
        leave_after: Tokens after which the user turns away; None for one who reads to the end.
    """

    chat: int
    number: int
    think_s: float
    prompt: str
    tokens: int
    leave_after: int | None


def read_prompts(path: Path) -> tuple[str, ...]:
    """Read a file of questions, one a line; lines end with line feeds alone, for other breaks may stand in a question.

    Raises:
        ConfigurationError: It holds none.
    """
    prompts = tuple(line for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
    if not prompts:
        raise ConfigurationError(f"{path} holds no question: write one a line")
    return prompts


def turns(
    *, seed: int, client: str, user: int, prompts: Sequence[str], think_s: float, answer_tokens: int
) -> Iterator[Turn]:
    """Yield what a user does, without end.

    Args:
        seed: Seed of the load.
        client: Name of the client host.
        user: Number of the user on that host.
        prompts: The questions to choose from.
        think_s: Median pause in seconds; 0 for none.
        answer_tokens: Median length of an answer in tokens.
    """
    draw = Random(f"eloquent load 1|{seed}|{client}|{user}")
    chat, number = 0, 0
    while True:
        chat += 1
        ends = False
        while not ends:
            number += 1
            tokens = round(_lognormal(draw, answer_tokens, ANSWER_SIGMA))
            tokens = max(min(SHORTEST_ANSWER, answer_tokens), min(LONGEST_ANSWER, tokens))
            leave_after = draw.randrange(1, tokens) if draw.random() < LEFT_SHARE and tokens > 1 else None
            think = min(LONGEST_THOUGHT, _lognormal(draw, think_s, THINK_SIGMA))
            yield Turn(chat, number, think, draw.choice(prompts), tokens, leave_after)
            ends = draw.random() < 1 / MEAN_TURNS


def _lognormal(draw: Random, median: float, sigma: float) -> float:
    return median and draw.lognormvariate(math.log(median), sigma)
