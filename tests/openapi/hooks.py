"""What schemathesis is told beyond the document. It loads this module; `STAGE` names the file in which `prove.py` says what there is."""

import json
import os
from pathlib import Path

import schemathesis
from hypothesis import strategies
from stage import Stage, operation

STAGE = Stage(json.loads(Path(os.environ["STAGE"]).read_text()))

# What schemathesis calls a request that was refused though it is as the document says,
REJECTED = "ST202"
# and one that was taken though it is not.
ACCEPTED = "ST201"
# Refused with 400 for what the server holds, or does not: no schema can say so.
STATES = {"CLIENT_ID_IN_FUTURE", "INVALID_PAGE_TOKEN", "POSITION_BEYOND_HEAD"}
# Beside the document's way of saying it, proto3 JSON takes `null`, and numbers as text and text as numbers.
# The other is the name that schemathesis has for a body that is left out where none is needed.
LENIENT = ("Incorrect type", "positive test case")
# It is taken, and says of each message whether that was.
EACH_APART = {"sendMessages"}

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
def filter_failure(_context, failure, case, response):
    if failure.code == REJECTED:
        return code_of(response) not in STATES
    if failure.code == ACCEPTED:
        is_apart = operation(case) in EACH_APART
        return not is_apart and not any(it in failure.message for it in LENIENT)
    return True


def code_of(response):
    """The code of a refusal; None: it is none."""
    try:
        return response.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return None
