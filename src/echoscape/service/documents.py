"""What the interface's description says beyond what types tell.

Takes messages and status codes.
Gives parts of an OpenAPI document.
"""

from typing import Any

import pydantic

_PROBLEM = {
    "application/problem+json": {
        "schema": {
            "type": "object",
            "properties": {
                "type": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
            },
            "required": ["type", "status", "detail"],
        }
    }
}
_SAID = {
    401: "No token of this store.",
    403: "The token does not allow this, or the request comes from another origin.",
    404: "There is no such thing.",
    408: "The body arrived too slowly.",
    413: "The body is too large.",
    415: "A content type that is not understood.",
    422: "The request cannot be used; the sentence says how to repair it.",
    429: "Too many requests.",
    503: "The worker died; send the request again.",
}


def answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a request can be answered with, beside those of every request."""
    every = sorted({401, 403, 422, 429, *codes})
    return {code: {"description": _SAID[code], "content": _PROBLEM} for code in every}


def body_of(message: type[pydantic.BaseModel], *binary: str) -> dict[str, Any]:
    """Describe a body that is JSON of a message, or bytes of other types."""
    schema = message.model_json_schema(ref_template="#/components/schemas/{model}")
    parts = schema.pop("$defs", {})
    content: dict[str, Any] = {"application/json": {"schema": _inlined(schema, parts)}}
    for kind in binary:
        content[kind] = {"schema": {"type": "string", "format": "binary"}}
    return {"requestBody": {"required": True, "content": content}}


def _inlined(schema: Any, parts: dict[str, Any]) -> Any:
    """Put parts in the place of references to them."""
    if isinstance(schema, dict):
        name = schema.get("$ref", "").rpartition("/")[2]
        if name in parts:
            return _inlined(parts[name], parts)
        return {key: _inlined(value, parts) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_inlined(value, parts) for value in schema]
    return schema
