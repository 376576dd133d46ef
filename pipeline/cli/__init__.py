"""The `fairnas` command."""
