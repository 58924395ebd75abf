"""`python -m mailproxy.cli`: what a background server is started with."""

from mailproxy.cli.main import main

main()
