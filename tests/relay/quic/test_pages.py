"""Who of all pages may ask, and what of a request of theirs reaches the model server."""

import base64
import json
import time
from pathlib import Path

import jwt
import pytest

from eloquent.api.v1.exchange_pb2 import Ask, GrpcCall, HttpField, HttpRequest, Resume
from eloquent.errors import ConfigurationError
from eloquent.relay.quic.pages import LEEWAY, MAX_HEAD, PageRefused, Pages, load_page_secret, make_page_token

SECRET = b"a secret that is long enough, of 41 bytes"
ORIGIN = "https://chat.example"
PAGES = Pages([ORIGIN], SECRET)
NEVER = float("inf")


def sign(secret: bytes = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    return jwt.encode({"exp": int(time.time()) + 600, **claims}, secret, algorithm=algorithm)


def admit(token: str | None, *, pages: Pages = PAGES, origin: str | None = ORIGIN) -> float:
    return pages.admit("/eloquent" if token is None else f"/eloquent?token={token}", origin)


def test_a_page_of_an_origin_with_a_token_may_ask_until_that_ends():
    end = int(time.time()) + 100
    assert admit(sign(exp=end)) == end + LEEWAY
    assert admit(make_page_token(SECRET, lifetime=60.0, now=time.time())) > time.time() + 50
    for audience in ("eloquent", ["others", "eloquent"]):
        assert admit(sign(aud=audience, sub="somebody", iat=int(time.time()) + 10))


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "null",
        "http://chat.example",
        f"{ORIGIN}:8443",
        f"{ORIGIN}.evil",
        f"{ORIGIN}/",
        "*",
        "https://CHAT.example",
    ],
)
def test_pages_of_other_origins_may_not(origin: str | None):
    with pytest.raises(PageRefused, match="--page-origins") as refused:
        admit(sign(), origin=origin)
    assert (refused.value.cause, refused.value.status) == ("origin", 403)
    assert admit(sign(), pages=Pages(["*"], SECRET), origin=origin)


def test_without_a_secret_every_page_of_the_origins_may():
    pages = Pages([ORIGIN])
    assert admit(None, pages=pages) == NEVER
    with pytest.raises(PageRefused):
        admit(None, pages=pages, origin="https://other.example")


def unsigned() -> str:
    parts = [{"alg": "none", "typ": "JWT"}, {"exp": int(time.time()) + 600}]
    return ".".join([base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts] + [""])


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, "has no token"),
        ("", "has no token"),
        ("garbage", "not made with the secret"),
        ("a.b.c", "not made with the secret"),
        (unsigned(), "not made with the secret"),
        (sign(b"another secret that is long enough as well"), "not made with the secret"),
        (sign(SECRET * 2, algorithm="HS512"), "not made with the secret"),
        (sign(exp=int(time.time()) - 60), "has expired"),
        (sign(nbf=int(time.time()) + 600), "not good yet"),
        (sign(exp=None), "no end"),
        (jwt.encode({"sub": "somebody"}, SECRET), "no end"),
        (sign(exp="tomorrow"), "not made with the secret"),
        (sign(aud="payroll"), "for others"),
        (sign(aud=["payroll"]), "for others"),
        (sign(sub="x" * 5000), "too long"),
        ("%00%ff%0a", "not made with the secret"),
    ],
    ids=lambda value: "" if value is None or value.startswith("ey") else value[:40],  # tokens hold the time of day
)
def test_a_token_that_is_not_good_is_refused_with_its_reason(token: str | None, said: str):
    with pytest.raises(PageRefused, match=said) as refused:
        admit(token)
    assert (refused.value.cause, refused.value.status) == ("token", 401)


@pytest.mark.parametrize(
    "target", ["/", "/eloquent/", "/eloquent/../x", "//eloquent", "", "/Eloquent", "https://[/eloquent"]
)
def test_there_is_one_path(target: str):
    with pytest.raises(PageRefused) as refused:
        PAGES.admit(f"{target}?token={sign()}", ORIGIN)
    assert refused.value.cause == "path"
    assert refused.value.status in {400, 404}


def test_a_query_of_many_fields_is_refused():
    with pytest.raises(PageRefused):
        PAGES.admit("/eloquent?" + "&".join(["a=b"] * 1000), ORIGIN)


def ask(target: str = "/v1/chat/completions", method: str = "POST", **fields: str) -> Ask:
    said = [HttpField(name=name.replace("_", "-"), value=value.encode("latin-1")) for name, value in fields.items()]
    return Ask(answer_id=bytes(16), http=HttpRequest(method=method, target=target, fields=said, body=b"{}"))


def test_a_page_may_ask_what_is_listed_with_the_fields_that_fetch_lets_it_say():
    request = ask(
        "/v1/chat/completions?stream=1",
        Content_Type="application/json",
        authorization="Bearer of-the-page",
        last_event_id="7",
        cookie="session=stolen",
        host="internal.example",
        origin="https://trusted.example",
        connection="close, x-mine",
        x_mine="1",
        x_forwarded_for="10.0.0.1",
        forwarded="for=10.0.0.1",
        sec_fetch_site="none",
        proxy_authorization="x",
        X_Real_IP="10.0.0.1",
        content_length="3",
        x_http_method_override="DELETE",
        x_request_id="one",
    )
    PAGES.restrict(request, NEVER)
    assert [(field.name, field.value) for field in request.http.fields] == [
        ("Content-Type", b"application/json"),
        ("authorization", b"Bearer of-the-page"),
        ("last-event-id", b"7"),
        ("x-request-id", b"one"),
    ]
    assert request.http.body == b"{}"


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/chat/completions"),
        ("post", "/v1/chat/completions"),
        ("DELETE", "/v1/models/one"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1/chat/completions/../../admin"),
        ("POST", "//v1/chat/completions"),
        ("POST", "/v1/chat%2fcompletions"),
        ("POST", "/v1/chat/completions#x"),
        ("POST", "/v1/chat/completions? HTTP/1.1\r\nhost: evil"),
        ("POST", "/v1/chat/completions?ä"),
        ("POST /v1/chat/completions", ""),
        ("POST", ""),
    ],
)
def test_it_may_ask_nothing_else(method: str, target: str):
    with pytest.raises(PageRefused, match="--page-targets") as refused:
        PAGES.restrict(ask(target, method), NEVER)
    assert refused.value.cause == "target"


def test_an_operator_lists_other_targets():
    pages = Pages([ORIGIN], SECRET, targets=["GET /v1/models"])
    pages.restrict(ask("/v1/models", "GET"), NEVER)
    with pytest.raises(PageRefused):
        pages.restrict(ask(), NEVER)


@pytest.mark.parametrize(
    "field",
    [("a b", b""), ("", b""), ("x:", b""), ("x", b"a\r\nhost: evil"), ("x", b"a\0"), ("x", b"\n"), ("x\r\ny", b"")],
)
def test_a_field_that_would_be_another_is_refused(field: tuple[str, bytes]):
    request = ask()
    request.http.fields.append(HttpField(name=field[0], value=field[1]))
    with pytest.raises(PageRefused, match="malformed"):
        PAGES.restrict(request, NEVER)


def test_a_head_that_is_too_long_is_refused():
    PAGES.restrict(ask(x="a" * (MAX_HEAD - 100)), NEVER)
    with pytest.raises(PageRefused, match="more than 16384 bytes"):
        PAGES.restrict(ask(x="a" * MAX_HEAD), NEVER)
    with pytest.raises(PageRefused, match="more than 16384 bytes"):
        PAGES.restrict(ask("/v1/chat/completions?" + "a" * MAX_HEAD), NEVER)


def test_when_the_token_has_ended_nothing_more_may_be_asked():
    now = [1000.0]
    pages = Pages([ORIGIN], SECRET, clock=lambda: now[0])
    pages.restrict(ask(), 1000.0)
    now[0] += 1.0
    with pytest.raises(PageRefused, match="expired"):
        pages.restrict(ask(), 1000.0)
    with pytest.raises(PageRefused, match="expired"):
        pages.restrict(Ask(answer_id=bytes(16), resume=Resume(next=3)), 1000.0)


def test_a_page_goes_on_with_an_answer_but_makes_no_call_of_grpc():
    PAGES.restrict(Ask(answer_id=bytes(16), resume=Resume(next=3)), NEVER)
    with pytest.raises(PageRefused, match="HTTP only"):
        PAGES.restrict(Ask(answer_id=bytes(16), grpc=GrpcCall(method="/x/Y")), NEVER)


def test_the_secret_is_the_text_of_its_file(tmp_path: Path):
    file = tmp_path / "page.secret"
    file.write_bytes(SECRET + b"\n")
    assert load_page_secret(file) == SECRET
    file.write_bytes(b"short\n")
    with pytest.raises(ConfigurationError, match=r"page\.secret has 5 bytes"):
        load_page_secret(file)
    with pytest.raises(ConfigurationError, match=r"absent cannot be read: No such file"):
        load_page_secret(tmp_path / "absent")
