"""Whatever is sent, the service answers as its description says, and never with a fault."""

import socket
import threading

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings

from echoscape.service import Limits, make_application
from echoscape.store import Store
from echoscape.store.tokens import make_token

schemathesis = pytest.importorskip("schemathesis")
QUICK = settings(
    max_examples=25, deadline=None, derandomize=True, database=None,
    suppress_health_check=[
        HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large
    ],
)  # fmt: skip
OPERATIONS = {
    ("get", "/v1/reports"), ("post", "/v1/reports"), ("post", "/v1/echoes"), ("post", "/v1/locate"),
    ("get", "/v1/maps"), ("get", "/v1/fixes"), ("post", "/v1/jobs"), ("get", "/v1/jobs/{number}"),
    ("get", "/v1/health"), ("get", "/v1/metrics"), ("get", "/v1/forecast"),
    ("get", "/v1/scene"), ("get", "/v1/place"),
}  # fmt: skip


@pytest.mark.slow
def test_no_request_is_answered_with_a_fault(tmp_path):
    from schemathesis.specs.openapi import checks as conformance

    url = str(tmp_path / "site.db")
    store = Store.create(url)
    headers = {"Authorization": f"Bearer {make_token(store, 'fuzz', ['admin'])}"}
    app = make_application(store, url, Limits(rate=1e6, burst=1e6))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    serving = threading.Thread(target=server.run, args=([listening],), daemon=True)
    serving.start()
    at = f"http://127.0.0.1:{listening.getsockname()[1]}/v1/openapi.json"
    schema = schemathesis.openapi.from_url(at, wait_for_schema=60)
    checks = [
        schemathesis.checks.not_a_server_error,
        conformance.status_code_conformance,
        conformance.content_type_conformance,
        conformance.response_schema_conformance,
    ]
    tried, codes = set(), set()
    try:
        for found in schema.exclude(path="/v1/events").get_all_operations():
            operation = found.ok()

            @QUICK
            @given(case=operation.as_strategy())
            def send(case):
                answer = case.call(headers=headers)
                case.validate_response(answer, checks=checks)
                codes.add(answer.status_code)

            send()
            tried.add((operation.method.lower(), operation.path))
    finally:
        server.should_exit = True
        serving.join(60)
    assert tried == OPERATIONS
    assert codes >= {200, 202, 404, 422}
