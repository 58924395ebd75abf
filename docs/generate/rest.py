"""rest.md: every route with its fields, answers and errors, from the OpenAPI document."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from docs.generate.markdown import NOTE, block, code, table
from mailproxy.api.codes import ERRORS, REJECTIONS

Json = Mapping[str, Any]

_HEAD = f"""\
# The REST API

{NOTE.format("[openapi.json](openapi.json)")}
A running server shows the same at `/docs` and `/redoc`, where calls can be tried, and as OpenAPI 3.1 at
`/openapi.json`.

"""
_EVERYWHERE = ("invalid_http", "header_timeout", "url_too_long", "header_too_large")
_STORAGE = ("storage_unavailable", "storage_full", "storage_locked", "storage_read_only", "commit_unknown")
_TAIL = f"""\
Beside the answers below, every route may answer {", ".join(map(code, _EVERYWHERE))} to what is
hardly HTTP. With *storage* are meant {", ".join(map(code, _STORAGE))}.

"""
_PARAMETERS = ("parameter", "in", "type", "meaning")
_FIELDS = ("field", "type", "meaning")


def text(document: str) -> str:
    """The page of an OpenAPI document."""
    page = "".join(_Page(json.loads(document)).parts())
    return re.sub(r"\n{3,}", "\n\n", page).rstrip() + "\n"


class _Page:
    def __init__(self, document: Json) -> None:
        self.document = document
        self.schemas: Json = document["components"]["schemas"]

    def parts(self) -> Iterator[str]:
        yield _HEAD + self.document["info"]["description"] + "\n" + _TAIL
        for tag in self.document["tags"]:
            name = tag["name"]
            yield f"## {name[0].upper()}{name[1:]}\n\n"
            for path, operations in self.document["paths"].items():
                for method, operation in operations.items():
                    if name in operation["tags"]:
                        yield from self.operation(method, path, operation)
        yield "## Objects\n\nFields in bold are required.\n\n"
        for name in sorted(self.schemas):
            if "properties" in self.schemas[name]:
                yield from self.schema(name)
        yield from self.words()

    def operation(self, method: str, path: str, operation: Json) -> Iterator[str]:
        yield f"### `{method.upper()} {path}`\n\n**{operation['summary']}**\n\n{operation.get('description', '')}\n\n"
        parameters = [self.resolved(one) for one in operation.get("parameters", ())]
        yield table(_PARAMETERS, (self.parameter(one) for one in parameters if one["name"] != "X-Request-ID"))
        if body := operation.get("requestBody"):
            yield from self.body(body["content"])
        yield from self.answers(operation["responses"])

    def parameter(self, one: Json) -> tuple[str, ...]:
        name = code(one["name"])
        return (
            f"**{name}**" if one.get("required") else name,
            one["in"],
            self.kind(one["schema"]),
            _meaning(one),
        )

    def body(self, content: Json) -> Iterator[str]:
        for media in content.values():
            yield f"Body: {self.kind(media['schema'])}\n\n"
            for example in list(media.get("examples", {}).values())[:1]:
                yield block(example["value"])

    def answers(self, responses: Json) -> Iterator[str]:
        rows, examples = [], []
        for status, response in responses.items():
            found = self.resolved(response)
            media = next(iter(found.get("content", {}).values()), {})
            codes = [name for name in media.get("examples", {}) if name in ERRORS]
            if int(status) < 400 or not codes:
                kind = self.kind(media["schema"]) if "schema" in media else ""
                rows.append((status, f"{found['description']} {kind}"))
                examples += [one["value"] for one in list(media.get("examples", {}).values())[:1]]
            else:
                own = [code(name) for name in codes if name not in (*_EVERYWHERE, *_STORAGE)]
                own += ["*storage*"] * any(name in _STORAGE for name in codes)
                rows += [(status, ", ".join(own))] if own else []
        yield table(("answer", ""), rows)
        for example in examples:
            if isinstance(example, dict):
                yield block(example)

    def schema(self, name: str) -> Iterator[str]:
        found = self.schemas[name]
        required = found.get("required", ())
        yield f"### Object `{name}`\n\n{found.get('description', '')}\n\n"
        yield table(
            _FIELDS,
            (
                (f"**`{field}`**" if field in required else code(field), self.kind(one), _meaning(one))
                for field, one in found["properties"].items()
            ),
        )

    def words(self) -> Iterator[str]:
        yield "## Errors\n\nA client reads `code`; `detail` is for people.\n\n"
        yield table(
            ("code", "meaning"), ((code(name), word.meaning) for name, word in sorted(ERRORS.items()))
        )
        yield "## Why a message is not queued\n\nThe codes in `rejected` of add-messages.\n\n"
        yield table(("code", "meaning"), ((code(name), said) for name, said in sorted(REJECTIONS.items())))

    def resolved(self, one: Json) -> Json:
        while "$ref" in one:
            _, *steps = one["$ref"].split("/")
            found: Any = self.document
            for step in steps:
                found = found[step.replace("~1", "/").replace("~0", "~")]
            one = found
        return one

    def kind(self, schema: Json) -> str:
        """A type in words."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            found = self.schemas[name]
            return f"[{name}](#object-{name.lower()})" if "properties" in found else self.kind(found)
        if several := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            return " or ".join(dict.fromkeys(self.kind(one) for one in several if one.get("type") != "null"))
        if "enum" in schema:
            return ", ".join(code(value) for value in schema["enum"])
        if "const" in schema:
            return code(json.dumps(schema["const"]))
        if schema.get("type") == "array":
            return f"list of {self.kind(schema.get('items', {}))}"
        return _plain(schema)


def _plain(schema: Json) -> str:
    name = {"string": "text", "object": "object", None: "any"}.get(schema.get("type"), schema.get("type", ""))
    if schema.get("format") in ("date-time", "uuid"):
        name = {"date-time": "RFC 3339 time", "uuid": "UUID"}[schema["format"]]
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None and high < 2**31:
        return f"{name} {low:g} to {high:g}" if high < 10**6 else f"{name} from {low:g}"
    return f"{name}, at most {schema['maxLength']}" if "maxLength" in schema else name


def _meaning(one: Json) -> str:
    default = one.get("default", one.get("schema", {}).get("default"))
    told = one.get("description", "")
    return told if default is None else f"{told} Default: `{json.dumps(default)}`."
