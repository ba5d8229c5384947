"""Ask the token server by other people's clients, unmodified: `.venv/bin/python tests/clients/run.py [--install] [NAME...]`.

Without a name, by all; each asks directly, and through a pair of relays whose carrier is QUIC. Each is installed into a folder of
its own under .build/clients, at the version that stands here, from PyPI or npm; with --install no more is done, and `model` is
installed like a client: a model server and what makes its model. docs/http.md tells what each needs.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
ELOQUENT_JS = REPOSITORY / "clients" / "js"
BUILD = REPOSITORY / ".build" / "clients"
LOCK = REPOSITORY / "requirements" / "clients.lock"
MODELS_LOCK = REPOSITORY / "requirements" / "models.lock"
STRANGE = ("one\u2028line ", "\u0085 to\x0b all\x0c readers\u2029")  # line breaks to Python, but not to event streams
PATIENCE = 600  # seconds for one client


@dataclass(frozen=True)
class Client:
    """A client.

    Attributes:
        name: What the command line calls it.
        what: Its package and version.
        install: Installs it; returns the folder where it lies.
        ask: Asks: given that folder, the base of the API and a folder for what it writes.
        is_ours: Whether it is this project's, which tests ways of its own and asks directly alone.
    """

    name: str
    what: str
    install: Callable[[], Path]
    ask: Callable[[Path, str, Path], None]
    is_ours: bool = False


def pip(name: str, requirement: str | Path) -> Callable[[], Path]:
    """Make an installer into a virtual environment, of a package or of a lock file."""

    def install() -> Path:
        folder = BUILD / name
        with _unless_done(
            folder, requirement.read_text() if isinstance(requirement, Path) else requirement
        ) as is_wanted:
            if is_wanted:
                venv.create(folder, clear=True, with_pip=True)
                if isinstance(requirement, Path):
                    _pip(folder, "--require-hashes", "--requirement", requirement)
                else:  # hundreds of packages, over whose versions pip ponders for a quarter of an hour
                    _pip(folder, "uv")
                    uv = folder / "bin" / "uv"
                    _run(
                        uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", requirement, cwd=folder
                    )
        return folder

    return install


def _pip(folder: Path, *words: object) -> None:
    _run(folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *words, cwd=folder)


def npm() -> Path:
    """Install the JavaScript clients; what they are stands in package.json and package-lock.json."""
    folder = BUILD / "javascript"
    with _unless_done(folder, (HERE / "package-lock.json").read_text()) as is_wanted:
        if is_wanted:
            folder.mkdir(parents=True, exist_ok=True)
            for file in (HERE / "package.json", HERE / "package-lock.json"):
                shutil.copy(file, folder)
            _run("npm", "ci", "--silent", "--no-audit", "--no-fund", cwd=folder)
    for file in HERE.glob("*.mjs"):
        shutil.copy(file, folder)  # a script finds the packages that lie beside it
    return folder


@contextmanager
def _unless_done(folder: Path, wanted: str) -> Iterator[bool]:
    """Tell whether what is wanted has yet to be installed, and note that it was."""
    note = folder / "installed"
    yield not (note.exists() and note.read_text() == wanted)
    note.write_text(wanted)


def python_script(name: str) -> Callable[[Path, str, Path], None]:
    """Ask by a script of this folder, in the client's own environment."""
    return lambda folder, url, out: _run(folder / "bin" / "python", HERE / name, url, cwd=out)


def node_script(name: str) -> Callable[[Path, str, Path], None]:
    """Ask by a script that lies beside the JavaScript packages."""
    return lambda folder, url, out: _run("node", folder / name, url, cwd=out)


def eloquent_js() -> Path:
    """Install what our own JavaScript client is built and tested with, and copy it there."""
    folder = BUILD / "eloquent-js"
    with _unless_done(folder, (ELOQUENT_JS / "package-lock.json").read_text()) as is_wanted:
        if is_wanted:
            folder.mkdir(parents=True, exist_ok=True)
            for file in (ELOQUENT_JS / "package.json", ELOQUENT_JS / "package-lock.json"):
                shutil.copy(file, folder)
            _run("npm", "ci", "--silent", "--no-audit", "--no-fund", cwd=folder)
    shutil.copytree(ELOQUENT_JS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    npm()
    return folder


def try_eloquent_js(folder: Path, url: str, out: Path) -> None:
    """Build, check, pack and test our own client, and have OpenAI's and Vercel's ask by it."""
    committed = (ELOQUENT_JS / "eloquent.js").read_bytes()
    _run("npm", "run", "--silent", "build", "--", "--log-level=warning", cwd=folder)
    if (folder / "eloquent.js").read_bytes() != committed:
        raise AssertionError("clients/js/eloquent.js is not what its sources make: npm run build")
    _run("npm", "run", "--silent", "types", cwd=folder)
    _run("npm", "pack", "--silent", "--pack-destination", out, cwd=folder)
    _run("npm", "test", "--silent", cwd=folder)
    for script in ("ask_openai.mjs", "ask_vercel.mjs"):
        _run("node", BUILD / "javascript" / script, url, folder / "test" / "through_eloquent.js", cwd=out)


def package(name: str) -> str:
    """Return a JavaScript package and its version."""
    return f"{name}@{json.loads((HERE / 'package.json').read_text())['dependencies'][name]}"


def guidellm(folder: Path, url: str, out: Path) -> None:
    """Benchmark by guidellm, which needs no tokenizer where the prompts are given and the server counts the tokens."""
    prompts = [json.dumps({"prompt": f"Count to {number}"}) for number in (5, 7, 9, 11)]
    (out / "prompts.jsonl").write_text("\n".join(prompts) + "\n")
    _run(
        *(folder / "bin" / "guidellm", "run", "--disable-progress"),
        *("--backend", f"kind=openai_http,target={url.removesuffix('/v1')},model=eloquent"),
        *("--profile", "kind=concurrent,streams=2", "--constraint", "kind=max_requests,count=6"),
        *("--data", "kind=json_file,path=prompts.jsonl", "--output", "kind=json,path=report.json"),
        cwd=out,
    )
    (benchmark,) = json.loads((out / "report.json").read_text())["benchmarks"]
    requests = benchmark["requests"]
    _expect((requests["errored"], requests["incomplete"]), ([], []))
    counted = {", ".join(str(number) for number in range(1, last + 1)) for last in (5, 7, 9, 11)}
    _expect({request["output"] for request in requests["successful"]}, counted)


TOKENIZER = """
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
words = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="[UNK]").save_pretrained("tokenizer")
"""


def aiperf(folder: Path, url: str, out: Path) -> None:
    """Benchmark by aiperf, which wants a tokenizer even where the server counts the tokens: one that counts words."""
    prompts = [json.dumps({"text": f"Count to {number}"}) for number in (5, 7, 9, 11)]
    (out / "prompts.jsonl").write_text("\n".join(prompts) + "\n")
    _run(folder / "bin" / "python", "-c", TOKENIZER, cwd=out)
    _run(
        *(folder / "bin" / "aiperf", "profile", "--model", "eloquent", "--url", url.removesuffix("/v1")),
        *("--endpoint-type", "chat", "--streaming", "--use-server-token-count", "--tokenizer", out / "tokenizer"),
        *("--input-file", "prompts.jsonl", "--custom-dataset-type", "single_turn"),
        *("--request-count", "4", "--concurrency", "2", "--ui", "none", "--artifact-dir", "report"),
        cwd=out,
    )
    report = json.loads((out / "report" / "profile_export_aiperf.json").read_text())
    _expect(report["request_count"]["avg"], 4)
    _expect(report["output_sequence_length"]["avg"], (9 + 13 + 17 + 21) / 4)


def _expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise AssertionError(f"{found!r} instead of {wanted!r}")


def _run(*words: object, cwd: Path) -> None:
    # LiteLLM fetches prices before it asks; our own client is tried against relays of this environment
    alone = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "ELOQUENT_PYTHON": sys.executable}
    subprocess.run([*map(str, words)], cwd=cwd, check=True, timeout=PATIENCE, env=os.environ | alone)


def _pinned(name: str, lock: Path) -> str:
    return next(line.split()[0] for line in lock.read_text().splitlines() if line.startswith(f"{name}=="))


CLIENTS = (
    Client("openai", _pinned("openai", LOCK) + " (Python)", pip("openai", LOCK), python_script("ask_openai.py")),
    Client("openai-js", package("openai") + " (JavaScript)", npm, node_script("ask_openai.mjs")),
    Client("vercel", package("ai"), npm, node_script("ask_vercel.mjs")),
    Client("eloquent-js", "eloquent-stream (JavaScript, ours)", eloquent_js, try_eloquent_js, is_ours=True),
    Client(
        "langchain",
        "langchain-openai==1.7.4",
        pip("langchain", "langchain-openai==1.7.4"),
        python_script("ask_langchain.py"),
    ),
    Client("litellm", "litellm==1.110.2", pip("litellm", "litellm==1.110.2"), python_script("ask_litellm.py")),
    Client("guidellm", "guidellm==0.8.1", pip("guidellm", "guidellm==0.8.1"), guidellm),
    Client("aiperf", "aiperf==0.13.0", pip("aiperf", "aiperf==0.13.0"), aiperf),
)


@contextmanager
def token_server() -> Iterator[str]:
    """Run a token server that has a recording; yield the base of its API."""
    with tempfile.TemporaryDirectory() as recordings:
        lines = [json.dumps({"at_s": 0.05 * number, "text": text}) for number, text in enumerate(STRANGE)]
        (Path(recordings) / "strange.jsonl").write_text("\n".join(lines) + "\n")
        port = _free_port()
        words = ("--listen", "127.0.0.1:0", "--http", f"127.0.0.1:{port}", "--recordings", recordings)
        with _process("eloquent.nodes.token_server", *words):
            yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def relays_over_quic(url: str) -> Iterator[str]:
    """Run both relays before a model server; yield the base of its API at the edge."""
    with tempfile.TemporaryDirectory() as folder:
        key, port = str(Path(folder) / "key"), _free_port()
        subprocess.run([sys.executable, "-m", "eloquent.cli", "key", key], check=True, timeout=PATIENCE)
        between = f"127.0.0.1:{_free_port(socket.SOCK_DGRAM)}"
        origin = ("--upstream", url.removesuffix("/v1"), "--listen", "127.0.0.1:0", "--quic", between)
        edge = ("--origin", between, "--carrier", "quic", "--listen", f"127.0.0.1:{port}")
        with (
            _process("eloquent.cli", "origin", "--key-file", key, *origin),
            _process("eloquent.cli", "edge", "--key-file", key, *edge),
        ):
            yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def _process(module: str, *words: str) -> Iterator[None]:
    """Run a process that says when it is ready."""
    process = subprocess.Popen([sys.executable, "-m", module, *words], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if process.stdout.readline().strip() != b"ready":
            raise SystemExit(f"{module} {' '.join(words)} did not start")
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def try_client(client: Client, url: str) -> str:
    """Install a client and ask by it; return the verdict."""
    started = time.monotonic()
    try:
        folder = client.install()
        with tempfile.TemporaryDirectory() as out:
            client.ask(folder, url, Path(out))
    except (AssertionError, OSError, subprocess.SubprocessError) as error:
        return f"FAILED: {error}"
    return f"passed ({time.monotonic() - started:.0f} s)"


def main() -> int:
    """Try the clients that were named, or all; give the exit status."""
    only_install = sys.argv[1:2] == ["--install"]
    installers = {client.name: client.install for client in CLIENTS}
    if only_install:
        installers["model"] = pip("model", MODELS_LOCK)
    names = sys.argv[1 + only_install :] or list(installers)
    if unknown := set(names) - set(installers):
        print(f"no client {', '.join(sorted(unknown))}: choose from {', '.join(installers)}", file=sys.stderr)
        return 2
    if only_install:
        for name in names:
            installers[name]()
        return 0
    with token_server() as direct, relays_over_quic(direct) as relayed:
        ways = {"directly": direct, "over QUIC": relayed}
        verdicts = {
            (client, way): try_client(client, url)
            for client in CLIENTS
            if client.name in names
            for way, url in ways.items()
            if url == direct or not client.is_ours
        }
    for (client, way), verdict in verdicts.items():
        print(f"{client.what:40} {way:10} {verdict}")
    return int(any(verdict.startswith("FAILED") for verdict in verdicts.values()))


if __name__ == "__main__":
    sys.exit(main())
