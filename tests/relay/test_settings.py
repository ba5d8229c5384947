"""What an operator sets: which source wins, and a sentence that names the key for what cannot be."""

from pathlib import Path
from typing import Any

import pytest

from eloquent.errors import ConfigurationError
from eloquent.relay.settings import EdgeSettings, OriginSettings, read_settings

EDGE = {"origin": "server.example:4433", "plaintext": True}


def test_a_flag_wins_over_a_variable_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "relays.toml"
    file.write_text(
        '[edge]\norigin = "file:1"\nlisten = "127.0.0.1:1"\nscheme = "retransmit"\nplaintext = true\n[origin]\nkeep = 5\n'
    )
    variables = {"ELOQUENT_EDGE_LISTEN": "127.0.0.1:2", "ELOQUENT_EDGE_SCHEME": "eloquent", "ELOQUENT_ORIGIN_KEEP": "7"}
    flags = {"scheme": "duplicate-2", "listen": None}
    read = read_settings(EdgeSettings, "edge", flags, file=file, environment=variables)
    assert (read.origin, read.listen, read.scheme) == ("file:1", "127.0.0.1:2", "duplicate-2")
    one = read_settings(
        OriginSettings, "origin", {"upstream": "http://m", "plaintext": True}, file=file, environment=variables
    )
    assert (one.keep, one.listen) == (7.0, "0.0.0.0:4433")


def test_a_port_alone_is_all_addresses_and_schemes_are_a_list() -> None:
    flags = {"upstream": "http://127.0.0.1:8000", "listen": ":9", "schemes": "eloquent, retransmit", "plaintext": True}
    read = read_settings(OriginSettings, "origin", flags, environment={})
    assert (read.listen, read.schemes) == ("0.0.0.0:9", ("eloquent", "retransmit"))


@pytest.mark.parametrize(
    ("flags", "variables", "said"),
    [
        ({"plaintext": True}, {}, "say --origin, or ELOQUENT_EDGE_ORIGIN"),
        ({"origin": "a:1"}, {}, "name the key file"),
        ({"origin": "a:1", "plaintext": True, "key_file": Path("k")}, {}, "name the key file"),
        ({**EDGE, "keep_alive": -1.0}, {}, "--keep-alive: "),
        ({**EDGE, "max_request": 0}, {}, "--max-request: "),
        (EDGE, {"ELOQUENT_EDGE_LISTEN": "nowhere"}, "ELOQUENT_EDGE_LISTEN: 'nowhere' is not an address"),
        (EDGE, {"ELOQUENT_EDGE_SCHEME": "grpc"}, "ELOQUENT_EDGE_SCHEME: the scheme 'grpc' is not carried by relays"),
        (EDGE, {"ELOQUENT_EDGE_SPEED": "9"}, "ELOQUENT_EDGE_SPEED: "),
    ],
)
def test_what_cannot_be_is_said_by_its_name(flags: dict[str, Any], variables: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_settings(EdgeSettings, "edge", flags, environment=variables)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[edge\n", "is not TOML"),
        ("[middle]\n", "'middle' is neither [origin] nor [edge]"),
        ("edge = 1\n", "[edge] is not a table"),
        ('[edge]\norigin = "a:1"\nplaintext = true\nlisten = 7\n', "[edge] listen: "),
        (None, "cannot read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "relays.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        read_settings(EdgeSettings, "edge", {}, file=file, environment={})
    assert str(file) in str(refused.value)
    assert said in str(refused.value)


def test_a_certificate_without_its_key_is_refused() -> None:
    flags = {"upstream": "http://m", "key_file": Path("k"), "certificate": Path("c")}
    with pytest.raises(ConfigurationError, match="a certificate and its key are named together"):
        read_settings(OriginSettings, "origin", flags, environment={})


PAGES = {"webtransport": ":443", "page_origins": "https://chat.example, http://localhost:5173", "page_secret": "s"}


def test_pages_have_settings_of_their_own() -> None:
    flags = {"upstream": "http://m", "key_file": "k", **PAGES, "page_targets": "POST /v1/responses,GET /v1/models"}
    settings = read_settings(OriginSettings, "origin", flags, environment={})
    assert settings.webtransport == "0.0.0.0:443"
    assert settings.page_origins == ("https://chat.example", "http://localhost:5173")
    assert settings.page_targets == ("POST /v1/responses", "GET /v1/models")
    assert "POST /v1/chat/completions" in OriginSettings(upstream="http://m", key_file="k").page_targets


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"page_origins": None}, "say with page-origins whose pages may ask over webtransport"),
        ({"page_origins": " "}, "say with page-origins whose pages may ask over webtransport"),
        ({"webtransport": None}, "are of webtransport: say where pages come in"),
        ({"page_origins": "chat.example"}, "--page-origins: 'chat.example' is no origin of pages"),
        ({"page_origins": "https://chat.example/"}, "--page-origins: 'https://chat.example/' is no origin of pages"),
        ({"page_origins": "https://*.example"}, "is no origin of pages"),
        ({"page_targets": "/v1/models"}, "--page-targets: '/v1/models' is not what pages may ask: write a method"),
        ({"page_targets": "GET /v1/models?x"}, "is not what pages may ask"),
        ({"page_targets": ""}, "--page-targets: "),
        ({"listen": ":443"}, "edges over sealed UDP have 0.0.0.0:443: QUIC and WebTransport need another port"),
        ({"max_page_answers": 0}, "--max-page-answers: "),
    ],
)
def test_settings_of_pages_that_cannot_be_are_refused_with_a_sentence(changes: dict[str, Any], said: str) -> None:
    flags = {"upstream": "http://m", "key_file": "k", **PAGES, **changes}
    with pytest.raises(ConfigurationError) as error:
        read_settings(OriginSettings, "origin", flags, environment={})
    assert said in str(error.value)
