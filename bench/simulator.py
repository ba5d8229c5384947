"""How many sessions, and events of theirs, the simulator computes in a second of processor time."""

import time

from bench.endpoints import SIMULATED
from bench.tables import Column, Rows, Table
from eloquent import scenarios, schemes
from eloquent.sim.engine.choices import Choices
from eloquent.sim.engine.session import constant_rate, run_session

SESSIONS = 6  # of each scheme
RATES = {10: "text", 50: "openai"}  # tokens a second, and what they are


def measure() -> Rows:
    """Return what sessions of 30 s take, by scheme and rate of tokens."""
    scenario = scenarios.load("paper-default")
    rows: Rows = {}
    for rate, content in RATES.items():
        generated = constant_rate(30.0, 1 / rate)
        for scheme in SIMULATED:
            events, began = 0, time.process_time()
            for seed in range(SESSIONS):
                trace = run_session(
                    schemes.get(scheme), scenario, seed=seed, generated_s=generated, choices=Choices(content=content)
                )
                events += len(generated) + len(trace.arrived_s) + trace.account.acks_received
            took = time.process_time() - began
            rows[f"{scheme}, {rate}/s"] = {"sessions": SESSIONS / took, "events": events / took}
    return rows


TABLE = Table(
    title="Simulator",
    about="Sessions of 30 s on the link of the paper; an event is a token that is made, or a packet that arrives at either end.",
    case="scheme, tokens",
    columns=(Column("sessions", "sessions/s a core", 1), Column("events", "events/s a core")),
    compared="sessions",
)
