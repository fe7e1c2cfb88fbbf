"""Hetzner's error answers: ``{"error": {"code", "message", "details"}}`` and the status that goes with each code."""

from __future__ import annotations

from typing import Any

# https://docs.hetzner.cloud/reference/cloud#errors; codes of single operations are from the OpenAPI document.
STATUS = {
    "json_error": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "token_readonly": 403,
    "maintenance": 403,
    "resource_limit_exceeded": 403,
    "not_found": 404,
    "firewall_resource_not_found": 404,
    "method_not_allowed": 405,
    "uniqueness_error": 409,
    "conflict": 409,
    "resource_unavailable": 412,
    "placement_error": 412,
    "no_space_left_in_location": 412,
    "invalid_input": 422,
    "service_error": 422,
    "unsupported_error": 422,
    "locked": 423,
    "protected": 423,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "bad_gateway": 502,
    "unavailable": 503,
    "timeout": 504,
}
OTHER_STATUS = 422  # of the codes that belong to one operation: server_not_stopped, must_be_unassigned, ...


class ApiError(Exception):
    """An answer that is not a success. ``details`` is the code's own object, or None."""

    def __init__(self, code: str, message: str, details: dict[str, Any] | None = None, status: int = 0) -> None:
        self.code, self.message, self.details = code, message, details
        self.status = status or STATUS.get(code, OTHER_STATUS)
        super().__init__(f"{message} ({code})")

    def body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}


def invalid(field: str, message: str) -> ApiError:
    """``invalid_input`` of one field."""
    details = {"fields": [{"name": field, "messages": [message]}]}
    return ApiError("invalid_input", f"invalid input in field '{field}': {message}", details)


def not_found(what: str, which: object) -> ApiError:
    return ApiError("not_found", f"{what} with ID '{which}' not found")


def taken(what: str) -> ApiError:
    """``uniqueness_error`` of a name."""
    return ApiError("uniqueness_error", f"{what} name is already used", {"fields": [{"name": "name"}]})
