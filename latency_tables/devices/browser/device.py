"""Any phone or laptop with a browser: it opens a page, which measures with ONNX Runtime Web and posts what it finds."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ....models import Block
from ...block_models import block_model
from ...device import Conditions, Fingerprint, OnnxModel, Sample
from ...errors import DeviceLost, LatencyError
from .exchange import Exchange, Job
from .messages import Hello, Output, Taken
from .runtime import runtime_files
from .server import PageServer


class BrowserDevice:
    """A browser, through ONNX Runtime Web (wasm).

    Its clock, `performance.now()`, moves in steps: 5 us in a cross-origin isolated page, else 100 us (in Chrome; others
    differ). Warm runs are therefore repeated within one timing until it spans at least 20 steps, and a sample is the
    mean of that timing. A cold run is one run, known to one step only.

    A page is isolated on `http://localhost` and on https. Plain http on any other address works with one thread and the
    coarse clock; `adb reverse tcp:8123 tcp:8123` gives an Android phone its own `http://localhost:8123`.

    Args:
        port: where the page is served; 0 takes a free port.
        listen: the address to serve on. Anything but the loopback address lets others on the network connect; without
            the token in the URL they get nothing, but the traffic is not encrypted.
        threads: threads of the runtime; more than one needs an isolated page.
        opener: opens the URL when a page is needed, such as `webbrowser.open`; None leaves that to people.
        announce: is told the URL when a page is needed.
        patience_s: how long `prepare` waits for a page.
        silence_s: a page that says nothing for so long is lost.
    """

    id = "browser"
    kind = "browser"

    def __init__(
        self,
        port: int = 8123,
        listen: str = "127.0.0.1",
        threads: int = 1,
        opener: Callable[[str], object] | None = None,
        *,
        announce: Callable[[str], object] | None = None,
        patience_s: float = 300.0,
        silence_s: float = 30.0,
    ) -> None:
        if threads < 1:
            raise LatencyError(f"cannot measure with {threads} threads: ask for at least 1")
        self._port, self._listen, self._threads = port, listen, threads
        self._wishes = [wish for wish in (announce, opener) if wish]
        self._patience_s = patience_s
        self._token = secrets.token_urlsafe(24)
        self._silence_s = silence_s
        self._exchange = Exchange(silence_s)
        self._server: PageServer | None = None
        self._hello: Hello | None = None

    def prepare(self) -> None:
        """See `Device.prepare`; starts the server and waits until a page is open.

        Raises:
            LatencyError: the port or address cannot be used, the runtime cannot be downloaded, or the page cannot have
                as many threads as asked for.
            DeviceLost: nobody opened the page in time.
        """
        if self._server is None:
            self._exchange = Exchange(self._silence_s)
            self._server = self._served()
        if not self._exchange.wait_for_page(0):
            for wish in self._wishes:
                wish(self._server.url)
        hello = self._exchange.wait_for_page(self._patience_s)
        if hello is None:
            raise DeviceLost(f"no browser opened {self._server.url} within {self._patience_s:g} s: open it there")
        if hello.threads != self._threads:
            raise LatencyError(
                f"{hello.fingerprint()['name']} runs {hello.threads} of {self._threads} threads, because its page is "
                "not cross-origin isolated: open it on http://localhost (`adb reverse` does that for an Android phone) "
                "or https, or ask for 1 thread"
            )
        self._hello = hello

    def fingerprint(self) -> Fingerprint:
        """See `Device.fingerprint`; with `isolated` (1 or 0) and `user_agent`."""
        if self._hello is None:
            raise LatencyError("no browser is connected: call prepare() first")
        return self._hello.fingerprint()

    def outputs(self, models: Mapping[str, OnnxModel]) -> dict[str, np.ndarray]:
        """See `Device.outputs`."""
        job = Job("outputs", _contents(models), range(1))
        found = {job.names[a.model]: a.array() for a in self._answers(job) if isinstance(a, Output)}
        return {name: found[name] for name in models}

    def measure(self, models: Mapping[str, OnnxModel], rounds: range) -> Iterator[Sample]:
        """See `Device.measure`; `cpu_ms` is None, as a browser does not tell."""
        job = Job("measure", _contents(models), rounds)
        for answer in self._answers(job):
            if isinstance(answer, Taken):
                yield Sample(job.names[answer.model], answer.round, answer.cold_ms, answer.warm_ms)

    def conditions(self) -> Conditions:
        """Nothing: a browser does not tell."""
        return Conditions()

    def close(self) -> None:
        """Tell the page that it may be closed, and stop serving."""
        if self._server:
            self._exchange.close()
            self._server.close()
            self._server = None

    def _answers(self, job: Job) -> Iterator[Taken | Output]:
        if self._server is None:
            raise LatencyError("no browser is connected: call prepare() first")
        return self._exchange.answers(job)

    def _served(self) -> PageServer:
        files = {**_page_files(), **runtime_files(), "settings.json": json.dumps({"threads": self._threads}).encode()}
        try:
            return PageServer(self._exchange, files, self._token, self._listen, self._port)
        except (OSError, OverflowError) as error:
            raise LatencyError(f"cannot serve on {self._listen}, port {self._port}: {error}") from error


def _page_files() -> dict[str, bytes]:
    folder = Path(__file__).parent / "page"
    # The runtime can tell its threads once it has run something: this is what it runs first.
    first_run = block_model(Block("conv", 3, 4, 8, 2, 3)).SerializeToString()
    return {file.name: file.read_bytes() for file in folder.iterdir()} | {"first_run.onnx": first_run}


def _contents(models: Mapping[str, OnnxModel]) -> dict[str, bytes]:
    return {name: model.read_bytes() if isinstance(model, Path) else model for name, model in models.items()}
