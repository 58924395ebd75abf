"""demo: watch messages travel through a throw-away instance."""

import click


@click.command()
@click.option("--postgres", is_flag=True, help="Use a throw-away PostgreSQL instead of SQLite.")
@click.option(
    "--messages", type=click.IntRange(min=1), default=200, show_default=True, help="How many to send."
)
def demo(postgres: bool, messages: int) -> int:
    """Send messages through a throw-away instance and watch them arrive."""
    from mailproxy.demo.run import run_demo  # noqa: PLC0415 what only the demo needs takes long to import

    return run_demo(postgres=postgres, messages=messages)
