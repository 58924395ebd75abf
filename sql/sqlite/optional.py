"""Conditions on what may be left out: SQLite plans before it knows parameters, so they are decided before it plans."""

import re
from collections.abc import Mapping
from functools import cache, lru_cache

_CONDITION = re.compile(r"\(:(\w+) IS NULL OR ((?:[^()]|\((?:[^()]|\([^()]*\))*\))*)\)")


def decided(statement: str, params: Mapping[str, object]) -> str:
    """Each `(:name IS NULL OR condition)` is the condition, or nothing when the parameter is null."""
    names = _names(statement)
    if not names:
        return statement
    return _without(statement, frozenset(name for name in names if params.get(name) is None))


@cache
def _names(statement: str) -> frozenset[str]:
    return frozenset(name for name, _ in _CONDITION.findall(statement))


@lru_cache(maxsize=4096)
def _without(statement: str, absent: frozenset[str]) -> str:
    return _CONDITION.sub(lambda found: "TRUE" if found[1] in absent else f"({found[2]})", statement)
