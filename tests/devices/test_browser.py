"""A real browser measures; and whoever else connects gets nothing and changes nothing."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import onnx
import pytest
from fairnas.latency_tables import LatencyError, block_model, calibration_networks, network_model
from fairnas.latency_tables.calibration import leave_one_out
from fairnas.latency_tables.device import Device, Sample
from fairnas.latency_tables.devices.browser.device import BrowserDevice
from fairnas.latency_tables.devices.browser.messages import Brand, Hello
from fairnas.latency_tables.devices.browser.runtime import _PACKAGE, runtime_files
from fairnas.latency_tables.devices.browser.server import MOST_BYTES
from fairnas.latency_tables.errors import DeviceLost
from fairnas.latency_tables.probe import probe_input, probe_values
from fairnas.models import get_space
from onnx import TensorProto, helper

from .contract import CONTRACT, MODELS, answers_as_the_host_does, is_sound, sentence
from .phone_and_board import Phone

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


class Chromium:
    """Opens pages in headless Chromium, one at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._profile = tempfile.TemporaryDirectory(prefix="fairnas-chromium-", ignore_cleanup_errors=True)

    @property
    def command(self) -> list[str]:
        quiet = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
        return [str(CHROMIUM), *quiet, f"--user-data-dir={self._profile.name}", "--remote-debugging-port=0"]

    def open(self, url: str, *wrapper: str) -> None:
        self.quit()
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen([*wrapper, *self.command, url], stdout=quiet, stderr=quiet)

    def quit(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.quit()
        self._profile.cleanup()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with closing(Chromium()) as browser:
        yield browser


@pytest.fixture(scope="module")
def module_device(chromium: Chromium) -> Iterator[BrowserDevice]:
    with closing(BrowserDevice(port=0, opener=chromium.open, silence_s=15)) as device:
        yield device


@pytest.fixture
def device(module_device: BrowserDevice) -> BrowserDevice:
    module_device.prepare()
    return module_device


# ---- A real browser ---------------------------------------------------------------------------


@needs_chromium
@pytest.mark.parametrize("promise", CONTRACT, ids=sentence)
def test_a_browser(device: BrowserDevice, promise: Callable[[Device], None]) -> None:
    promise(device)


@needs_chromium
def test_a_page_on_localhost_is_isolated_and_its_clock_is_fine(device: BrowserDevice) -> None:
    fingerprint = device.fingerprint()
    assert fingerprint["isolated"] == 1
    assert float(fingerprint["clock_us"]) <= 5
    assert str(fingerprint["runtime"]).startswith("ONNX Runtime Web 1.30.0, wasm, 1 thread")


@needs_chromium
@pytest.mark.parametrize("size", [7, 4096, 4097, 100_003])
def test_a_page_makes_the_same_input_to_the_last_bit(device: BrowserDevice, size: int) -> None:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "same", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    np.testing.assert_array_equal(device.outputs({"same": model})["same"], probe_values(probe_input((1, size))))


@needs_chromium
def test_a_model_without_a_fixed_shape_is_refused(device: BrowserDevice) -> None:
    model = onnx.load_from_string(next(iter(MODELS.values())))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(LatencyError, match=r"^loose does not run in the browser: input input has no fixed shape"):
        device.outputs({"loose": model.SerializeToString()})


@needs_chromium
def test_threads_are_really_used_and_said(chromium: Chromium) -> None:
    with closing(BrowserDevice(port=0, opener=chromium.open, threads=2)) as device:
        device.prepare()
        assert device.fingerprint()["threads"] == 2
        assert str(device.fingerprint()["runtime"]).endswith("2 threads")
        assert all(is_sound(sample) for sample in device.measure(MODELS, range(1)))


@needs_chromium
def test_a_page_that_is_closed_and_opened_again_goes_on_with_what_is_missing(chromium: Chromium) -> None:
    """First within the silence that is allowed, as with a reload; then after it, as with a phone put away."""
    with closing(BrowserDevice(port=0, opener=chromium.open, silence_s=12)) as device:
        device.prepare()
        fingerprint = device.fingerprint()
        seen: list[Sample] = []
        samples = device.measure(MODELS, range(3000))
        seen += [next(samples) for _ in range(5)]
        address = device._server.url if device._server else ""
        chromium.open(address)
        seen += [next(samples) for _ in range(2000)]
        chromium.quit()
        with pytest.raises(DeviceLost, match="said nothing for 12 s"):
            seen += samples
        device.prepare()
        assert device.fingerprint() == fingerprint
        # Nothing was lost, given twice or taken out of turn.
        turns = [(number, name) for number in range(3000) for name in MODELS]
        assert [(sample.round, sample.model) for sample in seen] == turns[: len(seen)]
        assert len(list(device.measure(MODELS, range(3000, 3001)))) == len(MODELS)


_NOT_LOCAL = "10.99.0.1"
_ELSEWHERE = """
import json, subprocess, sys
from fairnas.latency_tables import LatencyError, block_model
from fairnas.latency_tables.devices.browser.device import BrowserDevice
from fairnas.models import Block

listen, threads, *command = sys.argv[1:]
pages, quiet = [], {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
device = BrowserDevice(0, listen, int(threads), lambda url: pages.append(subprocess.Popen([*command, url], **quiet)))
try:
    device.prepare()
    model = block_model(Block("classifier", 16, 10, 4, activation="none")).SerializeToString()
    warm_ms = [sample.warm_ms for sample in device.measure({"small": model}, range(5))]
    print(json.dumps({"fingerprint": device.fingerprint(), "warm_ms": warm_ms}))
except LatencyError as error:
    print(json.dumps({"refused": str(error)}))
finally:
    device.close()
    for page in pages:
        page.kill()
"""


def measure_elsewhere(chromium: Chromium, threads: int) -> dict[str, Any]:
    """In a network of its own, where this machine has an address that is not the loopback one."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], check=False).returncode:
        pytest.skip("needs root and the right to make network namespaces")
    chromium.quit()
    network = ["unshare", "--net", "sh", "-c", 'ip link set lo up && ip address add "$0"/24 dev lo && exec "$@"']
    script = [sys.executable, "-c", _ELSEWHERE, _NOT_LOCAL, str(threads), *chromium.command]
    run = subprocess.run([*network, _NOT_LOCAL, *script], stdout=subprocess.PIPE, text=True, timeout=200, check=True)
    return json.loads(run.stdout)


@needs_chromium
def test_a_page_on_another_address_is_not_isolated_and_its_coarse_clock_is_overcome(chromium: Chromium) -> None:
    told = measure_elsewhere(chromium, threads=1)
    assert told["fingerprint"]["isolated"] == 0
    assert told["fingerprint"]["clock_us"] == 100
    # Finer than the clock, whose readings are whole tenths of a millisecond.
    assert any(abs(warm * 10 - round(warm * 10)) > 0.01 for warm in told["warm_ms"])


@needs_chromium
def test_threads_that_a_page_cannot_have_are_refused(chromium: Chromium) -> None:
    told = measure_elsewhere(chromium, threads=2)
    assert "runs 1 of 2 threads, because its page is not cross-origin isolated" in told["refused"]


@needs_chromium
def test_adb_reverse_makes_a_page_on_a_phone_isolated(phone: Phone, chromium: Chromium) -> None:
    """The browser is in the phone's network, where only adb's tunnel leads back to this machine."""

    def open_on_phone(url: str) -> None:
        port = str(urlsplit(url).port)
        phone.adb("-s", phone.serial, "reverse", "tcp:8123", f"tcp:{port}")
        chromium.open(url.replace(f":{port}/", ":8123/"), "ip", "netns", "exec", phone.netns)

    with closing(BrowserDevice(port=0, threads=2, opener=open_on_phone)) as device:
        device.prepare()
        fingerprint = device.fingerprint()
        assert (fingerprint["isolated"], fingerprint["threads"], fingerprint["clock_us"]) == (1, 2, 5)
        answers_as_the_host_does(device)
        assert all(is_sound(sample) for sample in device.measure(MODELS, range(2)))


@needs_chromium
@pytest.mark.slow
def test_blocks_measured_in_a_browser_predict_whole_networks(chromium: Chromium) -> None:
    """All blocks of a space in under a minute, and networks within 5% by a line fitted to the others."""
    space = get_space("b")
    blocks = {block.signature: block for block in space.all_blocks(224, 1000)}
    networks = [space.blocks(architecture, 224, 1000) for architecture in calibration_networks(space, 8)]
    with closing(BrowserDevice(port=0, opener=chromium.open)) as device:
        device.prepare()
        start = time.monotonic()
        block_ms = least(device, {name: block_model(block) for name, block in blocks.items()}, 20)
        seconds = time.monotonic() - start
        network_ms = least(device, {str(place): network_model(chain) for place, chain in enumerate(networks)}, 20)
        sums = np.array([sum(block_ms[block.signature] for block in chain) for chain in networks])
        measured = np.array([network_ms[str(place)] for place in range(len(networks))])
        bias, error = np.mean(sums / measured - 1), np.abs(leave_one_out(sums, measured)).mean()
        print(f"{len(blocks)} blocks in {seconds:.0f} s; {len(networks)} networks of {measured.min():.0f} to ", end="")
        print(f"{measured.max():.0f} ms: sum of blocks off by {bias:+.1%}, calibrated by {error:.1%}")
    assert seconds < 60
    assert error < 0.05


def least(device: Device, models: dict[str, onnx.ModelProto], rounds: int) -> dict[str, float]:
    """The shortest warm time of each model, in ms."""
    found: dict[str, float] = {}
    contents = {name: model.SerializeToString() for name, model in models.items()}
    for sample in device.measure(contents, range(rounds)):
        found[sample.model] = min(sample.warm_ms, found.get(sample.model, np.inf))
    return found


# ---- Everybody else ---------------------------------------------------------------------------

HELLO = {
    "user_agent": "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/156.0.0.0 Mobile Safari/537.36",
    "brands": [],
    "platform": "",
    "platform_version": "",
    "model": "",
    "architecture": "",
    "cores": 9,
    "isolated": True,
    "clock_us": 5.0,
    "threads": 1,
    "runtime": "1.30.0",
}


class Visitor:
    """Speaks HTTP to a device's server by hand, and knows its token."""

    def __init__(self, device: BrowserDevice) -> None:
        self.urls: list[str] = []
        device._wishes.append(self.urls.append)
        self._preparing = threading.Thread(target=device.prepare)
        self._preparing.start()
        while not self.urls:
            time.sleep(0.01)
        parts = urlsplit(self.urls[0])
        self.host, self.port, self.home = str(parts.hostname), int(parts.port or 80), parts.path

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=20)) as connection:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read(), dict(reply.getheaders())

    def post(self, place: str, message: object) -> tuple[int, Any]:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        status, content, _ = self.ask("POST", self.home + place, body, {"Content-Type": "application/json"})
        return status, json.loads(content) if status == 200 else content.decode()

    def say_hello(self) -> str:
        status, reply = self.post("hello", HELLO)
        assert status == 200
        self._preparing.join()
        self.page = reply["page"]
        return self.page

    def wait_for_the_end(self) -> threading.Thread:
        """Ask for work, as a page that has none does, so that it hears when the device is closed."""
        thread = threading.Thread(target=self.post, args=("work", {"page": self.page}))
        thread.start()
        return thread

    def send(self, raw: bytes) -> bytes:
        """Bytes as they are; what came back before the server hung up."""
        with socket.create_connection((self.host, self.port), timeout=20) as connection:
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.fixture
def visited() -> Iterator[tuple[BrowserDevice, Visitor]]:
    with closing(BrowserDevice(port=0)) as device:
        visitor = Visitor(device)
        yield device, visitor
        waiting = visitor.wait_for_the_end()
    waiting.join()


@pytest.fixture
def measuring(visited: tuple[BrowserDevice, Visitor]) -> Iterator[tuple[Visitor, dict[str, Any], list[Sample]]]:
    """Somebody who is in the middle of a measurement of two models in two rounds; and what the device has of it."""
    device, visitor = visited
    page = visitor.say_hello()
    taken: list[Sample] = []
    models = dict(list(MODELS.items())[:2])
    thread = threading.Thread(target=lambda: taken.extend(device.measure(models, range(2))))
    thread.start()
    status, job = visitor.post("work", {"page": page})
    assert (status, job["kind"], job["missing"]) == (200, "measure", [[0, 0], [1, 0], [0, 1], [1, 1]])
    yield visitor, {"page": page, "job": job["job"]}, taken
    good = [{"model": model, "round": number, "cold_ms": 2.0, "warm_ms": 1.0} for model, number in job["missing"]]
    assert visitor.post("samples", {"page": page, "job": job["job"], "samples": good})[0] == 200
    thread.join()
    # Whatever was tried in between: the device has what was measured, and nothing else.
    assert taken == [Sample(list(models)[model], number, 2.0, 1.0) for model, number in job["missing"]]


def test_nothing_is_served_without_the_token(visited: tuple[BrowserDevice, Visitor]) -> None:
    _, visitor = visited
    token = visitor.home.strip("/")
    for path in ("/", "/page.js", f"/{token[:-1]}/", f"/{token}x/", "/%00/", "/hello"):
        assert visitor.ask("GET", path)[0] == 403
        assert visitor.ask("POST", path, json.dumps(HELLO).encode(), {"Content-Type": "application/json"})[0] == 403
    assert visitor.send(b"GET /\xff/ HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 403 ")
    assert visitor.ask("DELETE", visitor.home)[0] == 501
    visitor.say_hello()


def test_only_known_files_are_served(visited: tuple[BrowserDevice, Visitor]) -> None:
    _, visitor = visited
    for path in (
        "../browser.py",
        "..%2fbrowser.py",
        "/etc/passwd",
        "models/../page.js",
        "models/",
        "index.html/",
        "hello",
    ):
        assert visitor.ask("GET", visitor.home + path)[0] == 404
    assert visitor.post("page.js", {})[0] == 404
    for name in ("", "index.html", "page.js", "worker.js", "style.css", "settings.json", "ort.wasm.min.mjs"):
        status, content, headers = visitor.ask("GET", visitor.home + name)
        assert status == 200
        assert content
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Cache-Control"] == "no-store"
    visitor.say_hello()


def taken(**changes: object) -> dict[str, object]:
    return {"samples": [{"model": 0, "round": 0, "cold_ms": 2.0, "warm_ms": 1.0} | changes]}


@pytest.mark.parametrize(
    ("place", "message", "status"),
    [
        ("samples", {"page": "0123456789abcdef", **taken()}, 409),
        ("samples", {"job": "0123456789abcdef", **taken()}, 410),
        ("samples", taken(model=2), 422),
        ("samples", taken(round=2), 422),
        ("samples", taken(model=-1), 400),
        ("samples", taken(model=0.5), 400),
        ("samples", taken(model="0"), 400),
        ("samples", taken(warm_ms=-1.0), 400),
        ("samples", taken(warm_ms=0), 400),
        ("samples", taken(warm_ms=True), 400),
        ("samples", taken(warm_ms=float("nan")), 400),
        ("samples", taken(cold_ms=float("inf")), 400),
        ("samples", taken(surprise=1), 400),
        ("samples", {"samples": [{"model": 0}]}, 400),
        ("samples", {"samples": taken()["samples"] * 501}, 400),  # pyright: ignore[reportOperatorIssue]
        ("samples", {}, 400),
        ("output", {"model": 0, "values": "AACAPw=="}, 422),
        ("output", {"model": 0, "values": "no base64"}, 400),
        ("output", {"model": 0, "values": "AAA="}, 400),
        ("failure", {"model": 7, "error": "broken"}, 422),
        ("failure", {"model": 0, "error": "two\nlines"}, 400),
    ],
)
def test_what_was_not_asked_for_changes_nothing(
    measuring: tuple[Visitor, dict[str, Any], list[Sample]], place: str, message: dict[str, Any], status: int
) -> None:
    visitor, names, found = measuring
    assert visitor.post(place, names | message)[0] == status
    assert not found


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[]", b"\xff", b"[" * 100_000, b'{"page": 1e999}', b"1" * 9999])
def test_what_is_no_message_changes_nothing(
    measuring: tuple[Visitor, dict[str, Any], list[Sample]], body: bytes
) -> None:
    visitor, _, _ = measuring
    assert visitor.post("samples", body)[0] == 400


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("Content-Length: 999999999999", b"", 413),
        (f"Content-Length: {MOST_BYTES + 1}", b"", 413),
        ("Content-Length: 50", b"{}", 400),
        ("Content-Length: -1", b"", 411),
        ("Content-Length: 2\r\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n", 411),
        ("X-Nothing: 1", b"{}", 411),
    ],
)
def test_a_message_of_the_wrong_size_changes_nothing(
    measuring: tuple[Visitor, dict[str, Any], list[Sample]], headers: str, body: bytes, status: int
) -> None:
    visitor, _, _ = measuring
    lines = (
        f"POST {visitor.home}samples HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{headers}\r\n\r\n"
    )
    assert visitor.send(lines.encode() + body).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_message_that_is_not_said_to_be_json_changes_nothing(
    measuring: tuple[Visitor, dict[str, Any], list[Sample]],
) -> None:
    visitor, names, _ = measuring
    body = json.dumps(names | taken()).encode()
    assert visitor.ask("POST", f"{visitor.home}samples", body, {"Content-Type": "text/plain"})[0] == 415


def test_another_browser_cannot_take_over(measuring: tuple[Visitor, dict[str, Any], list[Sample]]) -> None:
    visitor, _, _ = measuring
    status, line = visitor.post("hello", HELLO | {"isolated": False, "clock_us": 100.0})
    assert status == 409
    assert line.startswith("measuring began in Chrome 156, Linux; Android 14; Pixel 8")


def test_a_page_that_sends_again_what_got_no_reply_counts_once(
    measuring: tuple[Visitor, dict[str, Any], list[Sample]],
) -> None:
    visitor, names, _ = measuring
    message = names | taken()
    assert [visitor.post("samples", message)[0] for _ in range(3)] == [200] * 3


def test_nobody_coming_is_said_in_one_line() -> None:
    with closing(BrowserDevice(port=0, patience_s=0.1)) as device:
        with pytest.raises(DeviceLost, match=r"no browser opened http://localhost:\d+/[\w-]{32}/ within 0.1 s"):
            device.prepare()
        with pytest.raises(LatencyError, match="prepare"):
            device.fingerprint()


def test_a_port_that_is_taken_is_refused_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(LatencyError, match=f"cannot serve on 127.0.0.1, port {port}: .*in use"):
            BrowserDevice(port).prepare()


@pytest.mark.parametrize("listen", ["192.0.2.1", "no such name", "2001:db8::1"])
def test_an_address_that_is_not_ours_is_refused_in_one_line(listen: str) -> None:
    with pytest.raises(LatencyError, match=f"cannot serve on {listen}"):
        BrowserDevice(0, listen).prepare()


def test_no_threads_are_refused() -> None:
    with pytest.raises(LatencyError, match="0 threads"):
        BrowserDevice(threads=0)


@pytest.mark.parametrize(
    ("told", "name"),
    [
        (
            {
                "brands": [Brand(brand=brand, version="156") for brand in ("Not)A;Brand", "Chromium", "Google Chrome")],
                "platform": "Android",
                "platform_version": "14",
                "model": "Pixel 8",
            },
            "Google Chrome 156, Pixel 8, Android 14",
        ),
        (
            {
                "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, "
                "like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
            },
            "Safari 18.1, iPhone; CPU iPhone OS 18_1 like Mac OS X",
        ),
        (
            {"user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
            "Firefox 140, X11; Linux x86_64; rv:140.0",
        ),
        ({"user_agent": ""}, "unknown browser, unknown system"),
    ],
)
def test_browsers_have_names(told: dict[str, Any], name: str) -> None:
    assert Hello(**HELLO | told).fingerprint()["name"] == name


def test_a_damaged_runtime_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither one that was damaged in the cache nor a package that is not the pinned one."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:1")
    folder = tmp_path / f"{_PACKAGE.name}-{_PACKAGE.version}"
    folder.mkdir()
    (folder / "ort.wasm.min.mjs").write_text("alert(1)")
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / _PACKAGE.sha256).write_text("no package")
    with pytest.raises(LatencyError, match=f"cannot download {_PACKAGE.name}"):
        runtime_files(tmp_path)
