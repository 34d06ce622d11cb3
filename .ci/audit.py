"""Asks OSV (https://osv.dev) whether a version of requirements.lock has a known vulnerability, and fails if one has.

One request, of names and versions. Where OSV cannot be reached it says so and passes: a change is not to blame for the network.

    python .ci/audit.py [LOCK] [SERVICE]
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from pathlib import Path

LOCK = "requirements.lock"
SERVICE = "https://api.osv.dev"
SECS = 8
PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
# Vulnerabilities that do not concern Treadle, by their id, and why not.
ACCEPTED: dict[str, str] = {}


def main(lock: str = LOCK, service: str = SERVICE) -> int:
    pinned = PINNED.findall(Path(lock).read_text(encoding="utf-8"))
    try:
        found = vulnerabilities(pinned, service)
    except (OSError, ValueError) as error:
        print(f"{lock} was not audited: {service} does not answer ({error}).")
        return 0
    for (name, version), ids in found.items():
        print(f"{name} {version}: {', '.join(f'https://osv.dev/{each}' for each in ids)}")
    if found:
        print(
            "Take another version (make lock ARGS=--upgrade-package=NAME), or say in .ci/audit.py why it is no concern."
        )
        return 1
    print(f"{len(pinned)} packages of {lock} have no known vulnerability.")
    return 0


def vulnerabilities(pinned: list[tuple[str, str]], service: str) -> dict[tuple[str, str], list[str]]:
    """The ids of known vulnerabilities, by name and version.

    Raises:
        OSError: the service cannot be reached, or refuses.
        ValueError: its answer is something else.
    """
    queries = [
        {"package": {"name": name, "ecosystem": "PyPI"}, "version": version} for name, version in pinned
    ]
    request = urllib.request.Request(  # noqa: S310 - a constant, or the caller's own
        f"{service}/v1/querybatch",
        data=json.dumps({"queries": queries}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=SECS) as answer:  # noqa: S310
        results = json.load(answer).get("results", [])
    if len(results) != len(pinned):
        raise ValueError("it answers something else")
    ids = (
        [each["id"] for each in result.get("vulns", ()) if each["id"] not in ACCEPTED] for result in results
    )
    return {package: known for package, known in zip(pinned, ids, strict=True) if known}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
