"""Headless Chromium through chromedriver's plain WebDriver interface: no package beyond Debian's two is needed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]


def missing() -> list[str]:
    """Programs that the tests of pages need and that this machine lacks."""
    return [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]


class Browser:
    """One browser window."""

    def __init__(self, address: str, session: str) -> None:
        self.root = f"{address}/session/{session}"

    def open(self, url: str) -> None:
        """Load a page and wait for its load event."""
        _call(f"{self.root}/url", {"url": url})

    def evaluate(self, script: str) -> Any:
        """Value of a JavaScript expression in the page."""
        return _call(f"{self.root}/execute/sync", {"script": f"return ({script});", "args": []})

    def console(self) -> list[dict[str, Any]]:
        """Messages logged since the last call."""
        return _call(f"{self.root}/se/log", {"type": "browser"})

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the Chrome DevTools protocol."""
        return _call(f"{self.root}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def resize(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Set the size of the page, narrower than a window may be, and the colour scheme that it prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.command("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        shot = self.command("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with an empty profile, ended on leaving."""
    with (
        tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile,
        subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True) as driver,
    ):
        try:
            address = f"http://127.0.0.1:{_port(driver)}"
            options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = _call(f"{address}/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
            browser = Browser(address, session)
            try:
                yield browser
            finally:
                _call(browser.root, method="DELETE")
        finally:
            driver.terminate()


def _port(driver: subprocess.Popen[str]) -> int:
    """The port that chromedriver chose, as it says itself on starting."""
    deadline = time.monotonic() + 30
    assert driver.stdout is not None
    for line in driver.stdout:
        if "started successfully on port" in line:
            return int(line.rstrip(" .\n").rpartition(" ")[2])
        if time.monotonic() > deadline:
            break
    raise RuntimeError("chromedriver did not start")


def _call(url: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    # A proxy of the environment is not for this machine's own ports.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode()[:2000]) from error
