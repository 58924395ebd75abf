"""What SQLite is given to plan: conditions on parameters that are null are left out."""

import pytest

from sql.sqlite.optional import decided

STATEMENT = (
    "SELECT 1 FROM m WHERE (:tenant IS NULL OR m.t = :tenant)"
    " AND (:text IS NULL OR (a LIKE :text OR b IN (1, 2)))"
)


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"tenant": 1, "text": "x"}, "(m.t = :tenant) AND ((a LIKE :text OR b IN (1, 2)))"),
        ({"tenant": 1, "text": None}, "(m.t = :tenant) AND TRUE"),
        ({"tenant": 0}, "(m.t = :tenant) AND TRUE"),
        ({}, "TRUE AND TRUE"),
    ],
)
def test_conditions_on_what_was_not_given_are_left_out(params: dict[str, object], wanted: str) -> None:
    assert decided(STATEMENT, params) == f"SELECT 1 FROM m WHERE {wanted}"


@pytest.mark.parametrize("kept", ["a IS NULL OR :b", "(a.x IS NULL OR b)", "coalesce(:a, 1) IS NULL OR b"])
def test_other_conditions_stay_as_they_are(kept: str) -> None:
    assert decided(kept, {}) == kept
