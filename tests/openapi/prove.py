"""Calls every operation of the OpenAPI document on a server of its own, and judges the answers. `--help` says how."""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from judge import Run, operations
from server import Server, environment

HERE = Path(__file__).resolve().parent
# Each signs himself out, and his token is worthless from then on.
LEAVERS = 40
DOCUMENT = "/api/v1/openapi.json"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flare", default="target/debug/flare", help="the server's binary")
    parser.add_argument("--tools", required=True, type=Path, help="where schemathesis is installed")
    parser.add_argument("--reports", default="target/openapi", type=Path, help="where the reports go")
    options = parser.parse_args()
    options.reports.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with Server(options.flare) as server:
        with urllib.request.urlopen(server.url + DOCUMENT, timeout=30) as answer:
            document = answer.read()
        (options.reports / "openapi.json").write_bytes(document)
        status = call_all(server, options.tools.resolve(), options.reports.resolve())
        with (options.reports / "calls.ndjson").open() as lines:
            run = Run.read(lines)
        wrong = run.judge(operations(json.loads(document)))
        if status not in (0, 1):
            wrong.append(f"schemathesis ended with {status}")
        elif status == 1 and not wrong:
            wrong.append("schemathesis found a failure that its report does not show")
        server.finish()
    print(f"{run.summary()}, {time.monotonic() - began:.0f} s")
    for one in wrong:
        print(f"\n{one}", file=sys.stderr)
    if wrong:
        sys.exit(f"\n{len(wrong)} complaints; the reports are in {options.reports}")


def call_all(server, tools, reports):
    """Runs schemathesis, and gives back its exit status."""
    stage = reports / "stage.json"
    prepared = {
        "url": server.url,
        "key": server.api_key(),
        "token": server.token("alice"),
        "leavers": [server.token(f"leaver-{number}") for number in range(LEAVERS)],
    }
    stage.write_text(json.dumps(prepared))
    path = os.pathsep.join([str(tools), str(HERE)])
    with (reports / "schemathesis.log").open("wb") as log:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", HERE / "schemathesis.toml"),
                # From its address, it would pass over the operation that answers the document.
                *("run", reports / "openapi.json", "--url", server.url),
                *("--report", "ndjson", "--report-ndjson-path", reports / "calls.ndjson"),
            ],
            cwd=reports,
            env=environment() | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "STAGE": str(stage)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    stage.unlink()
    return done.returncode


if __name__ == "__main__":
    main()
