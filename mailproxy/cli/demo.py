"""demo: watch messages travel through a throw-away instance."""

import click

from mailproxy.cli import show


@click.command()
@click.option("--postgres", is_flag=True, help="Use a throw-away PostgreSQL instead of SQLite.")
@click.option(
    "--messages", type=click.IntRange(4, 10_000), default=200, show_default=True, help="How many to send."
)
@show.json_option
def demo(postgres: bool, messages: int, as_json: bool) -> int:
    """Watch messages travel through a throw-away instance."""
    from mailproxy.demo.run import run_demo  # noqa: PLC0415 what only the demo needs takes long to import

    return run_demo(postgres=postgres, messages=messages, as_json=as_json)
