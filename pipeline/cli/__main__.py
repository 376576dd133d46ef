"""`python -m fairnas.pipeline.cli`, as torchrun starts it: the `fairnas` command."""

from .app import main

main()
