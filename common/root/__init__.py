"""From a folder of images and a target device to deployable networks that keep a measured latency promise.

Installed as the package `fairnas` itself: the folders of the repository are its sub-packages.
"""

from importlib.metadata import version


def __getattr__(name: str) -> str:
    """`fairnas.__version__`, as it was installed: pyproject.toml is the one place that states it."""
    if name == "__version__":
        return version("fairnas")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
