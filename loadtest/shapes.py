"""How the number of users goes with time. Each shape lasts the whole test; the users named are those at its height."""

from locust import LoadTestShape

from eloquent.load.options import LoadOptions

ARRIVAL = 5.0  # seconds in which the users of a step come, so that they do not all ask at one instant
STEPS = 8  # of a ramp


class BaseShape(LoadTestShape):
    """A shape that follows the options of a load test.

    Attributes:
        options: Set by the locustfile.
    """

    abstract = True
    options: LoadOptions

    def tick(self) -> tuple[int, float] | None:
        """Give the number of users wanted now and how many may come in a second; None when the test is over.

        There is one user of each scheme at least, where all are as many.
        """
        passed = self.get_run_time() / self.options.duration_s
        if passed >= 1:
            return None
        users = self.options.users
        one_each = min(users, len(self.options.schemes))
        return max(one_each, round(self.share(passed) * users)), max(1.0, users / ARRIVAL)

    def share(self, passed: float) -> float:
        """Give the share of the users, 0..1, that is wanted when a share of the test has passed."""
        raise NotImplementedError


class Steady(BaseShape):
    """All users, all the time."""

    def share(self, passed: float) -> float:  # noqa: ARG002 - always the same
        """Give 1."""
        return 1.0


class Ramp(BaseShape):
    """Eight equal steps."""

    def share(self, passed: float) -> float:
        """Give the step that has been reached."""
        return (int(passed * STEPS) + 1) / STEPS


class Spike(BaseShape):
    """A quarter of the users, and all of them in the middle fifth."""

    def share(self, passed: float) -> float:
        """Give a quarter, or all."""
        return 1.0 if 0.4 <= passed < 0.6 else 0.25


class Commuter(Steady):
    """All users, in one train: it is the links that change (services/eloquent/load/ride.py)."""


SHAPES = {"steady": Steady, "ramp": Ramp, "spike": Spike, "commuter": Commuter}
