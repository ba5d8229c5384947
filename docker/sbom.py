# ruff: noqa: INP001  # a script, loaded by nobody
"""Write what the testbed is made of, Python and Debian packages, as one CycloneDX document.

    .venv/bin/python docker/sbom.py --out sbom.cdx.json [--image eloquent-testbed]

The Python part is the lock files'; the Debian part is what is installed: in an image, or on this machine as far as the testbed
needs it.
"""

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

REPOSITORY = Path(__file__).parents[1]
LOCKS = ("testbed.lock", "controller.lock")
GROUPS = ("native", "lab")
QUERY = ("dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package} ${Version} ${Architecture}\n")
CLOSURE = ("apt-cache", "depends", "--recurse", "--installed", "--no-recommends", "--no-suggests", "--no-enhances",
           "--no-conflicts", "--no-breaks", "--no-replaces")  # fmt: skip


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def python_packages(lock: Path) -> Iterator[Component]:
    """Yield the packages of a lock file."""
    tool = str(Path(sys.executable).with_name("cyclonedx-py"))
    bom = Bom.from_json(data=json.loads(_run(tool, "requirements", "--output-format", "JSON", str(lock))))
    for found in bom.components:
        url = PackageURL("pypi", None, found.name, found.version)
        yield _component(found.name, str(found.version), url)


def debian_packages(image: str | None) -> Iterator[Component]:
    """Yield the Debian packages of an image, or those of this machine that the testbed needs."""
    within = () if image is None else ("docker", "run", "--rm", "--network", "none", "--entrypoint", QUERY[0], image)
    needed = _needed() if image is None else None
    for line in _run(*within, *QUERY[bool(within) :]).splitlines():
        status, name, version, architecture = line.split(" ")
        if status == "installed" and (needed is None or name in needed):
            url = PackageURL("deb", "debian", name, version, {"arch": architecture})
            yield _component(name, version, url)


def _component(name: str, version: str, url: PackageURL) -> Component:
    return Component(name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=str(url))


def _needed() -> set[str]:
    """Give the names of the packages of our groups and of all that they depend on."""
    lines = (REPOSITORY / "docker" / "debian-packages.txt").read_text(encoding="utf-8").splitlines()
    ours = [words[1] for words in map(str.split, lines) if words and words[0] in GROUPS]
    return {line.split(":")[0] for line in _run(*CLOSURE, *ours).splitlines() if re.match(r"[a-z0-9]", line)}


def main() -> None:
    """Write the document, and say what it holds."""
    parser = argparse.ArgumentParser(description="Write what the testbed is made of.")
    parser.add_argument("--out", type=Path, required=True, help="the document")
    parser.add_argument("--image", help="the image whose Debian packages are meant; without it, this machine's")
    arguments = parser.parse_args()
    components = {
        str(component.purl): component
        for found in (
            *(python_packages(REPOSITORY / "requirements" / lock) for lock in LOCKS),
            debian_packages(arguments.image),
        )
        for component in found
    }
    bom = Bom(components=components.values())
    bom.metadata.component = Component(
        name="eloquent-testbed", type=ComponentType.APPLICATION, bom_ref="eloquent-testbed"
    )
    bom.register_dependency(bom.metadata.component, components.values())
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    if (error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        raise SystemExit(f"the document is not valid: {error}")
    arguments.out.write_text(text, encoding="utf-8")
    kinds = [component.purl.type for component in components.values() if component.purl is not None]
    print(f"{arguments.out}: {kinds.count('pypi')} Python packages, {kinds.count('deb')} Debian packages")


if __name__ == "__main__":
    main()
