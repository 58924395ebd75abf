"""The limit program runs the product's queries by their names: whoever changes one has to change it, too."""

from pathlib import Path

from loadtests import measure
from mailproxy.config import Settings


async def test_the_limit_program_still_speaks_the_schema(settings: Settings, tmp_path: Path) -> None:
    """Each message reaches the sink once, and has its event."""
    await measure.limit_on(settings.database, tmp_path, 200)
