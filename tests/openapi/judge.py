"""What a run of schemathesis proves: no server error, no answer that the document does not know, and enough calls that succeed."""

import base64
import json
import shlex
from collections import Counter, defaultdict
from dataclasses import dataclass, field

# So many calls of each operation have to succeed, or nothing was proved of it.
LEAST = 10
LEAST_OF = {
    # They take nothing: there is but one request.
    "GET /api/v1/openapi.json": 1,
    "GET /api/v1/client-config": 1,
}
# So much of an answer is shown.
SHOWN = 1_000


@dataclass
class Run:
    """What was called, as schemathesis recorded it."""

    statuses: dict = field(default_factory=lambda: defaultdict(Counter))
    # How often, and a call that shows it.
    complaints: dict = field(default_factory=dict)

    @classmethod
    def read(cls, lines):
        """Reads the report that schemathesis calls `ndjson`."""
        run = cls()
        for line in lines:
            event = json.loads(line)
            if "ScenarioFinished" in event:
                run._scenario(event["ScenarioFinished"]["recorder"])
            for kind in ("NonFatalError", "FatalError"):
                if kind in event:
                    run._complain(f"schemathesis stumbled: {json.dumps(event[kind])[:SHOWN]}")
        return run

    def _scenario(self, recorder):
        operation, checks = recorder["label"], recorder.get("checks", {})
        for case, call in recorder.get("interactions", {}).items():
            if not call.get("response"):
                self._complain(f"{operation}: no answer", call)
                continue
            status = call["response"]["status_code"]
            self.statuses[operation][status] += 1
            if status >= 500:
                self._complain(f"{operation}: a server error, {status}", call)
            for check in checks.get(case, []):
                if check["status"] == "failure" and check["name"] != "not_a_server_error":
                    # What follows is the schema, and the answer, which is shown anyhow.
                    said = check["failure_info"]["failure"]["message"].strip().split("\n\n")[0]
                    self._complain(f"{operation}: {check['name']}: {said}", call)

    def _complain(self, what, call=None):
        times, first = self.complaints.get(what, (0, call))
        self.complaints[what] = (times + 1, first)

    def judge(self, operations):
        """Everything that is wrong, in words. `operations` are those of the document."""
        wrong = [shown(what, times, call) for what, (times, call) in self.complaints.items()]
        for operation in operations:
            least = LEAST_OF.get(operation, LEAST)
            succeeded = self.share(operation, 200)
            if succeeded < least:
                answered = dict(sorted(self.statuses[operation].items()))
                wrong.append(f"{operation}: {succeeded} calls succeeded, at least {least} are to: {answered}")
        return wrong

    def share(self, operation, hundred):
        """The operation's answers of 200 to 299, of 400 to 499, …"""
        return sum(count for status, count in self.statuses[operation].items() if hundred <= status < hundred + 100)

    def summary(self):
        """The figures, in a line."""
        calls = sum(statuses.total() for statuses in self.statuses.values())
        shares = [
            f"{name} {self._all(hundred)} ({self._all(hundred) / max(calls, 1):.0%})"
            for name, hundred in (("2xx", 200), ("4xx", 400), ("5xx", 500))
        ]
        return f"{len(self.statuses)} operations, {calls} calls: {', '.join(shares)}"

    def _all(self, hundred):
        return sum(self.share(operation, hundred) for operation in self.statuses)


def shown(what, times, call):
    """A complaint with a call that shows it, and the answer."""
    lines = [f"{what}{f' ({times} times)' if times > 1 else ''}"]
    if call:
        lines.append(f"    {curl(call['request'])}")
    if call and call.get("response"):
        lines.append(f"    answered: {text(call['response'].get('content'))[:SHOWN]}")
    return "\n".join(lines)


def text(content):
    """Bytes of the report, which has them in base64."""
    return base64.b64decode((content or {}).get("$base64", "")).decode(errors="replace")


def curl(request):
    """A line that asks the same again, but for the credentials, which no report shows."""
    line = ["curl", "-X", request["method"]]
    for name, values in request.get("headers", {}).items():
        line += ["-H", f"{name}: {values[0]}"]
    if request.get("body"):
        line += ["--data-binary", text(request["body"])]
    return shlex.join([*line, request["uri"]])


def operations(document):
    """The operations of an OpenAPI document, as schemathesis names them."""
    return [f"{verb.upper()} {path}" for path, item in document["paths"].items() for verb in item]
