"""`python -m muster`: the command line."""

from muster.pipeline.cli.main import main

main()
