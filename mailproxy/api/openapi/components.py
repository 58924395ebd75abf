"""The JSON schemas of everything that is read and answered, as components of the document."""

from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from mailproxy.api.openapi.glossary import WORDS
from mailproxy.api.wire import Form

Schema = dict[str, Any]

_NULL = {"type": "null"}
_PARTS = {
    "MessageFields": ("id", "account_id", "to", "subject"),
    "AttachmentFields": ("filename", "storage_path"),
}


class Components:
    """`schemas` are those with a name, `of` is what refers to a type, `parameters` a query's by name.

    A message that misses a field is rejected alone, so its model, which judges whole calls, requires none; the
    document does.
    """

    def __init__(self, types: Iterable[Any], queries: Iterable[type[Form]]) -> None:
        wanted = {_key(one): one for one in (*types, *queries)}
        inputs: list[tuple[str, Any, TypeAdapter[Any]]] = [
            (key, "validation", TypeAdapter(one)) for key, one in sorted(wanted.items())
        ]
        found, definitions = TypeAdapter.json_schemas(
            inputs, ref_template="#/components/schemas/{model}", schema_generator=_Untitled
        )
        self._found = {key: schema for (key, _), schema in found.items()}
        self.schemas: dict[str, Schema] = definitions["$defs"]
        for name, schema in self.schemas.items():
            _explain(name, schema)
        for name, required in _PARTS.items():
            self.schemas[name]["required"] = list(required)
            _accept_null(self.schemas[name])
        self.schemas["MessageFields"]["anyOf"] = [{"required": ["from"]}, {"required": ["from_addr"]}]
        self._queries = {name: self.schemas.pop(name) for name in {query.__name__ for query in queries}}

    def of(self, one: Any) -> Schema:
        return self._found[_key(one)]

    def parameters(self, query: type[Form]) -> dict[str, Schema]:
        """An empty parameter of a query is text, so there is no null."""
        found: dict[str, Schema] = {}
        for name, schema in self._queries[query.__name__]["properties"].items():
            plain = {key: value for key, value in schema.items() if (key, value) != ("default", None)}
            others = [one for one in plain.pop("anyOf", ()) if one != _NULL]
            found[name] = plain | (others[0] if len(others) == 1 else {"anyOf": others} if others else {})
        return found

    def refine_body(self, body: Any, *, partial: bool) -> None:
        """Nulls count as not given; what a partial change is not given stays, so it has no defaults."""
        schema = self.schemas[body.__name__]
        for one in schema["properties"].values():
            if partial or one.get("default", ...) is None:
                one.pop("default", None)
        _accept_null(schema)


class _Untitled(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _key(one: Any) -> str:
    return repr(one)


def _explain(name: str, schema: Schema) -> None:
    for word, one in schema.get("properties", {}).items():
        one["description"] = WORDS.get(f"{name}.{word}") or WORDS[word]


def _accept_null(schema: Schema) -> None:
    for name, one in schema["properties"].items():
        if name in schema.get("required", ()) or _NULL in one.get("anyOf", ()):
            continue
        outer = {key: one.pop(key) for key in ("description", "default") if key in one}
        inner = one.get("anyOf") or [dict(one)]
        one.clear()
        one.update({"anyOf": [*inner, _NULL], **outer})
