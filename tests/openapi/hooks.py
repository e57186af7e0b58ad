"""What schemathesis is told beyond the document. It loads this module; `STAGE` names the file in which `prove.py` says what there is."""

import json
import os
from pathlib import Path

import schemathesis
from hypothesis import strategies
from stage import Stage

STAGE = Stage(json.loads(Path(os.environ["STAGE"]).read_text()))

# Refused with 400 for what the server holds, or does not: no schema can say so.
STATES = {"CLIENT_ID_IN_FUTURE", "INVALID_PAGE_TOKEN", "POSITION_BEYOND_HEAD"}

schemathesis.openapi.format("uint64", strategies.integers(0, 2**64 - 1).map(str))
schemathesis.openapi.format("int64", strategies.integers(-(2**63), 2**63 - 1).map(str))


@schemathesis.hook
def before_load_schema(_context, raw_schema):
    """What the document does not name stands in no request, and in no answer of this version."""
    close(raw_schema["components"]["schemas"])
    close(raw_schema["paths"])


def close(schema):
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            schema["additionalProperties"] = False
        for inner in schema.values():
            close(inner)
    elif isinstance(schema, list):
        for inner in schema:
            close(inner)


@schemathesis.hook
def before_call(_context, case, _kwargs):
    STAGE.place(case)
    STAGE.sign(case)


@schemathesis.hook
def filter_failure(_context, failure, _case, response):
    if failure.code != "ST202":
        return True
    return response.json()["error"]["code"] not in STATES
