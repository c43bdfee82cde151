"""`python -m flows` is `prefine`."""

from flows.cli import main

main()
