"""The judge finds each of what it is there for."""

import base64
import json
import unittest

from judge import LEAST, Run, operations

OPERATION = "POST /api/v1/things/{id}"
BODY = b'{"name": "it\'s"}'


def call(status):
    request = {
        "method": "POST",
        "uri": "http://127.0.0.1:1/api/v1/things/7",
        "headers": {"Content-Type": ["application/json"]},
        "body": {"$base64": base64.b64encode(BODY).decode()},
    }
    response = status and {"status_code": status, "content": {"$base64": base64.b64encode(b"oops").decode()}}
    return {"request": request, "response": response}


def failure(name, message):
    return {"name": name, "status": "failure", "failure_info": {"failure": {"message": message}}}


def scenario(*calls, checks=None):
    interactions = {str(at): one for at, one in enumerate(calls)}
    recorder = {"label": OPERATION, "interactions": interactions, "checks": checks or {}}
    return json.dumps({"ScenarioFinished": {"recorder": recorder}})


def judged(*lines):
    return Run.read(lines).judge([OPERATION])


GOOD = scenario(*[call(200)] * LEAST, call(404), checks={"0": [{"name": "status_code_conformance", "status": "success"}]})


class Judge(unittest.TestCase):
    def test_a_good_run_passes(self):
        self.assertEqual(judged(GOOD), [])

    def test_one_server_error_fails_with_a_line_that_asks_again(self):
        checks = {"0": [failure("not_a_server_error", "Server error")]}
        (wrong,) = judged(GOOD, scenario(call(500), checks=checks))
        self.assertIn(f"{OPERATION}: a server error, 500", wrong)
        self.assertIn("curl -X POST -H 'Content-Type: application/json' --data-binary", wrong)
        self.assertIn("http://127.0.0.1:1/api/v1/things/7", wrong)
        self.assertIn("answered: oops", wrong)

    def test_a_server_error_fails_though_it_be_documented(self):
        (wrong,) = judged(GOOD, scenario(call(503)))
        self.assertIn("a server error, 503", wrong)

    def test_an_answer_that_the_document_does_not_know_fails(self):
        for name in ("status_code_conformance", "response_schema_conformance", "content_type_conformance"):
            (wrong,) = judged(GOOD, scenario(call(418), checks={"0": [failure(name, "undocumented")]}))
            self.assertIn(f"{OPERATION}: {name}: undocumented", wrong)

    def test_the_same_complaint_stands_once_with_its_count(self):
        (wrong,) = judged(GOOD, scenario(call(500), call(500), call(500)))
        self.assertIn("(3 times)", wrong)

    def test_no_answer_fails(self):
        (wrong,) = judged(GOOD, scenario(call(None)))
        self.assertIn("no answer", wrong)

    def test_too_few_successes_fail(self):
        (wrong,) = judged(scenario(*[call(200)] * (LEAST - 1), *[call(400)] * 90))
        self.assertIn(f"{LEAST - 1} calls succeeded, at least {LEAST} are to", wrong)

    def test_an_operation_that_was_never_called_fails(self):
        document = {"paths": {"/api/v1/things/{id}": {"post": {}}, "/api/v1/others": {"get": {}}}}
        (wrong,) = Run.read([GOOD]).judge(operations(document))
        self.assertIn("GET /api/v1/others: 0 calls succeeded", wrong)

    def test_an_error_of_the_tool_fails(self):
        (wrong,) = judged(GOOD, json.dumps({"NonFatalError": {"value": {"message": "unsatisfiable"}}}))
        self.assertIn("unsatisfiable", wrong)

    def test_the_summary_has_the_shares(self):
        run = Run.read([scenario(call(200), call(200), call(404), call(500))])
        self.assertEqual(run.summary(), "1 operations, 4 calls: 2xx 2 (50%), 4xx 1 (25%), 5xx 1 (25%)")


if __name__ == "__main__":
    unittest.main()
