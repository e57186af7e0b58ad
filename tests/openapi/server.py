"""A `flare up` of its own, with the people and things that the document's examples name."""

import json
import os
import subprocess
import tempfile
import urllib.request
from pathlib import Path

# No call is to be refused for its being one of many.
SETTINGS = [
    "core_gateway.user_requests_per_s=1000000",
    "core_gateway.user_burst=1000000",
    "core_gateway.api_key_requests_per_s=1000000",
    "core_gateway.api_key_burst=1000000",
]
SCOPES = ["send", "conversations", "read", "presence", "admin"]


class Server:
    """Runs while the `with` block does; its data go with it."""

    def __init__(self, binary):
        self._binary = str(Path(binary).resolve())

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="flare-openapi-", ignore_cleanup_errors=True)
        self.log = Path(self._folder.name, "server.log")
        settings = [argument for setting in SETTINGS for argument in ("--set", setting)]
        with self.log.open("wb") as log:
            self._child = subprocess.Popen(
                [self._binary, "up", "--json", "--listen", "127.0.0.1:0", *self._data, *settings],
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        line = self._child.stdout.readline()
        if not line:
            self._child.wait()
            raise RuntimeError(f"flare up ended before it was up:\n{self.log.read_text()}")
        self.url = f"http://{json.loads(line)['core_gateway']}"
        return self

    def __exit__(self, *_):
        self._child.kill()
        self._child.wait()
        self._child.stdout.close()
        self._folder.cleanup()

    def finish(self):
        """Ends it, and demands that it does so cleanly and that its data keep the promises."""
        self._child.terminate()
        status = self._child.wait()
        if status != 0:
            raise RuntimeError(f"flare up ended with {status}:\n{self.log.read_text()}")
        if "promises kept" not in self._flare("verify"):
            raise RuntimeError("flare verify found a broken promise")

    def token(self, user):
        return self._flare("token", "--user", user).strip()

    def api_key(self):
        """The secret of a key with every scope."""
        scopes = [argument for scope in SCOPES for argument in ("--scope", scope)]
        made = self._flare("apikey", "create", "--name", "openapi", *scopes, "--json")
        return json.loads(made)["secret"]

    @property
    def _data(self):
        return ["--data", str(Path(self._folder.name, "data"))]

    def _flare(self, *command):
        done = subprocess.run(
            [self._binary, *command, *self._data], env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"flare {command[0]}: {done.stderr}")
        return done.stdout


def environment():
    """That of whoever runs the proof, without his settings of Flare."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FLARE_") and name != "RUST_LOG"}


class Api:
    """Calls with a key, as the system or for a user."""

    def __init__(self, url, key):
        self._url = url
        self._key = key

    def ask(self, verb, path, body=None, user=None):
        headers = {"x-api-key": self._key, "content-type": "application/json"}
        if user:
            headers["x-flare-user"] = user
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}/api/v1{path}", data, headers, method=verb)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
