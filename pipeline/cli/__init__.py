"""The `fairnas` command."""


def main() -> None:
    """Run it; see `app.main`."""
    from .app import main as run

    run()
