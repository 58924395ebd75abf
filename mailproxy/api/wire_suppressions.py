"""Requests about suppression lists as they arrive."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from mailproxy.api.wire import Form, Moment, PageQuery, TenantQuery
from mailproxy.suppressions import Cause

MOST = 1000

Address = Annotated[str, Field(min_length=1, max_length=1000)]


class SuppressionsQuery(PageQuery):
    q: Annotated[str, Field(max_length=200)] | None = None
    reason: Cause | None = None


class SuppressionQuery(TenantQuery):
    address: Address


class SuppressionForm(Form):
    address: Address
    reason: Cause | None = None
    expires_at: Moment | None = None


class SuppressionsForm(Form):
    """One entry, or a list of them."""

    address: Address | None = None
    reason: Cause | None = None
    expires_at: Moment | None = None
    suppressions: Annotated[tuple[SuppressionForm, ...], Field(min_length=1, max_length=MOST)] | None = None

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        given = self.model_fields_set
        if ("suppressions" in given) == bool(given - {"suppressions"}) or (
            "suppressions" not in given and self.address is None
        ):
            raise ValueError("give either address, or suppressions with an address each")
        return self

    def entries(self) -> tuple[SuppressionForm, ...]:
        if self.suppressions is not None:
            return self.suppressions
        assert self.address is not None, "checked above"
        return (SuppressionForm(address=self.address, reason=self.reason, expires_at=self.expires_at),)
