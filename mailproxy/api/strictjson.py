"""JSON as RFC 8259 defines it and nothing more: no NaN, no duplicate names, no bottomless nesting."""

import json
import re
from typing import Any, NoReturn

from mailproxy.api.refusals import Refusal

MAX_DEPTH = 32

_SUSPICIOUS = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def read(body: bytes) -> Any:
    """The value of `body`; refuses with 400 `invalid_json` naming the byte where it goes wrong."""
    if not body.strip():
        raise Refusal(400, "The body is empty: send JSON", "invalid_json")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse("it is not UTF-8", error.start)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
    except json.JSONDecodeError as error:
        _refuse(error.msg, len(text[: error.pos].encode()))
    except RecursionError:
        _refuse(f"it is nested deeper than {MAX_DEPTH} levels")
    if _deeper_than(value, MAX_DEPTH):
        _refuse(f"it is nested deeper than {MAX_DEPTH} levels")
    return value


def unstorable(body: bytes, value: Any) -> str | None:
    """Where `value`, read from `body`, holds NUL or half of a surrogate pair, which no database takes."""
    return _where(value, "") if _SUSPICIOUS.search(body) else None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        _refuse(f"the name {twice[:64]!a} occurs twice in one object")
    return found


def _no_constant(text: str) -> NoReturn:
    _refuse(f"{text} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        _refuse(f"the number {text[:32]} is too great")
    return number


def _integer(text: str) -> int:
    if len(text) > 64:
        _refuse(f"the number {text[:32]}… is too great")
    return int(text)


def _deeper_than(value: Any, levels: int) -> bool:
    layer = [value] if isinstance(value, dict | list) else []
    for _ in range(levels):
        layer = [
            inner
            for outer in layer
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not layer:
            return False
    return True


def _where(value: Any, path: str) -> str | None:
    if isinstance(value, str):
        return path or "the value" if UNSTORABLE.search(value) else None
    if isinstance(value, dict):
        for name, inner in value.items():
            if UNSTORABLE.search(name):
                return f"a name in {path or 'the body'}"
            if found := _where(inner, f"{path}.{name}" if path else name):
                return found
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            if found := _where(inner, f"{path}[{number}]"):
                return found
    return None


def _refuse(problem: str, position: int | None = None) -> NoReturn:
    at = "" if position is None else f" at byte {position}"
    raise Refusal(400, f"The body is not valid JSON: {problem}{at}", "invalid_json")
