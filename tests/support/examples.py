"""How many examples the property tests play: few in `make test`, many in `make test-long`."""

import os

from hypothesis import HealthCheck, settings

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "short")
MORE = 50


def examples(few: int) -> int:
    """For tests that need another number than the profile's."""
    return few * MORE if PROFILE == "long" else few


def load_profile() -> None:
    """Time is no measure: other tests run beside."""
    patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("short", patient, max_examples=50)
    settings.register_profile("long", patient, max_examples=50 * MORE)
    settings.load_profile(PROFILE)
