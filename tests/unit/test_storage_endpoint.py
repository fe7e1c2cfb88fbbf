"""What an S3 endpoint's refusals become, against a small HTTP server that answers as S3 does."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from binder_node.errors import StepError
from binder_node.secrets.masked import Masked
from binder_node.storage import bucket
from binder_node.storage.bucket import Bucket
from binder_node.storage.endpoint import REMEDIES, Endpoint
from binder_node.storage.policy import scoped

LIFECYCLE = """<LifecycleConfiguration>{}</LifecycleConfiguration>"""
RULE = """<Rule><ID>{id}</ID><Filter><Prefix></Prefix></Filter><Status>{status}</Status>
<AbortIncompleteMultipartUpload><DaysAfterInitiation>{days}</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>"""


def endpoint(server: HTTPServer) -> Endpoint:
    return Endpoint("bids", server.url_for("").rstrip("/"), "us-east-1", "registry", "key", Masked("secret-of-s3"))


def refuse(server: HTTPServer, code: str, status: int, headers: Mapping[str, str] | None = None) -> None:
    body = f"<Error><Code>{code}</Code><Message>told so</Message><Resource>/registry</Resource></Error>"
    server.expect_request("/registry").respond_with_data(body, status, headers, content_type="application/xml")


@pytest.mark.parametrize(
    ("code", "status", "seen"),
    [
        ("InvalidAccessKeyId", 403, Bucket("missing", False, False)),
        ("SignatureDoesNotMatch", 403, Bucket("stale", False, False)),
        ("AccessDenied", 403, Bucket("unscoped", False, False)),
        ("NoSuchBucket", 404, Bucket("ok", False, False)),
    ],
)
def test_one_request_tells_key_right_and_bucket_apart(
    httpserver: HTTPServer, code: str, status: int, seen: Bucket
) -> None:
    refuse(httpserver, code, status)
    assert bucket.look(endpoint(httpserver)) == seen
    assert len(httpserver.log) == 1


@pytest.mark.parametrize("code", ["SlowDown", "ServiceUnavailable"])
def test_throttling_is_named_with_what_to_do(httpserver: HTTPServer, code: str) -> None:
    refuse(httpserver, code, 503, {"Retry-After": "3600"})
    with pytest.raises(StepError) as caught:
        bucket.look(endpoint(httpserver))
    assert len(httpserver.log) == 1  # and not when the server would like to be asked again
    assert caught.value.reason.startswith(code)
    assert caught.value.remedy == REMEDIES[code]
    assert caught.value.host == "bids"


@pytest.mark.parametrize(
    ("rules", "aborts"),
    [
        (RULE.format(id="a", status="Enabled", days=1), True),
        (RULE.format(id="a", status="Disabled", days=1), False),
        (RULE.format(id="a", status="Enabled", days=7), False),
    ],
)
def test_only_an_enabled_rule_of_a_day_counts(httpserver: HTTPServer, rules: str, aborts: bool) -> None:
    httpserver.expect_request("/registry").respond_with_data(LIFECYCLE.format(rules), content_type="application/xml")
    assert bucket.look(endpoint(httpserver)) == Bucket("ok", True, aborts)


def test_setting_the_lifecycle_keeps_what_others_set(httpserver: HTTPServer) -> None:
    theirs = RULE.format(id="theirs", status="Enabled", days=30)
    put: list[str] = []

    def answer(request: Request) -> Response:
        if request.method == "PUT":
            put.append(request.get_data(as_text=True))
            return Response(status=200)
        return Response(LIFECYCLE.format(theirs), content_type="application/xml")

    httpserver.expect_request("/registry").respond_with_handler(answer)
    bucket.set_lifecycle(endpoint(httpserver))
    assert len(put) == 1
    assert "theirs" in put[0]
    assert "binder-node-abort-incomplete-uploads" in put[0]
    assert "<DaysAfterInitiation>1</DaysAfterInitiation>" in put[0]


def test_the_keys_policy_is_for_one_bucket_only() -> None:
    assert scoped("registry") == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:*"],
                "Resource": ["arn:aws:s3:::registry", "arn:aws:s3:::registry/*"],
            }
        ],
    }
