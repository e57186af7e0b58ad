"""What schemathesis is told beyond the document. It loads this module; `STAGE` names the file in which `prove.py` says what there is."""

import json
import os
from pathlib import Path

import schemathesis
from hypothesis import strategies
from stage import Stage

STAGE = Stage(json.loads(Path(os.environ["STAGE"]).read_text()))

# What schemathesis calls a request that was refused though it is as the document says.
REJECTION = "ST202"
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
    is_rejection = failure.code == REJECTION
    return not is_rejection or code_of(response) not in STATES


def code_of(response):
    """The code of a refusal; None: it is none."""
    try:
        return response.json()["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return None
