"""Whom the page of Locust's master refuses, asked of Locust's own application (a process of its own: Locust patches Python)."""

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes

ASK = """
import json, sys
from locust.env import Environment
from locust.web import WebUI
from eloquent.load.web_guard import guard

environment = Environment()
runner = environment.create_local_runner()
page = WebUI(environment, "127.0.0.1", 0)
guard(page.app)
client = page.app.test_client()
asked = json.load(sys.stdin)
print(json.dumps([client.open(path, method=method, headers=headers).status_code for method, path, headers in asked]))
runner.quit()
"""
OWN = "127.0.0.1:8089"


def statuses(*asked):
    done = subprocess.run(
        [sys.executable, "-c", ASK], input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_its_own_page_is_served_and_others_are_not():
    good = [
        ("GET", "/stats/requests", {"Host": OWN}),
        ("GET", "/stats/requests", {"Host": "localhost:18089"}),
        ("GET", "/stats/requests", {"Host": OWN, "Referer": "http://127.0.0.1:8080/"}),  # the board links here
        ("POST", "/stop", {"Host": OWN, "Origin": f"http://{OWN}"}),
        ("POST", "/stop", {"Host": OWN, "Referer": f"http://{OWN}/"}),
        ("POST", "/stop", {"Host": OWN}),  # curl
    ]
    bad = [
        *(
            ("GET", "/stats/requests", {"Host": host})
            for host in ("evil.example", "127.0.0.1.evil.example", "10.0.0.1")
        ),
        *(
            ("POST", path, {"Host": OWN, header: source})
            for path in ("/stop", "/swarm", "/stats/reset")
            for header, source in (
                ("Origin", "null"),
                ("Origin", "http://evil.example"),
                ("Origin", "http://127.0.0.1:9999"),
                ("Referer", "http://evil.example/127.0.0.1:8089"),
            )
        ),
    ]
    assert statuses(*good, *bad) == [200] * len(good) + [403] * len(bad)
