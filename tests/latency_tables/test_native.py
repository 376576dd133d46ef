"""The runner, compiled and run for real: on this machine, and as an arm64 program under qemu."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from fairnas.latency_tables.block_models import block_model
from fairnas.latency_tables.device import WARM_MS, WARM_RUNS
from fairnas.latency_tables.errors import DeviceLost, LatencyError
from fairnas.latency_tables.probe import probe_input, probe_values
from fairnas.latency_tables.runner.bundle import Bundle, build_bundle
from fairnas.latency_tables.runner.client import NativeRunner
from fairnas.latency_tables.runtimes.onnxruntime import onnxruntime
from fairnas.models import Block
from onnx import TensorProto, helper

BLOCKS = {
    "mbconv 24x56": Block("mbconv", 24, 24, 56, kernel=3, expansion=6),
    "conv 3x64": Block("conv", 3, 16, 64, stride=2, kernel=3),
    "'; rm -rf $HOME; \"\n é": Block("classifier", 64, 10, 7),
}
_QEMU = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")


class LocalTransport:
    """This machine as a device: programs are run, files are copied."""

    name = "this machine"

    def __init__(self) -> None:
        self.pushed: list[str] = []
        self.process: subprocess.Popen[str] | None = None

    def run(self, argv: Sequence[str]) -> Iterator[str]:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.process = process
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                yield line.rstrip("\n")
        process.wait()

    def push(self, files: Sequence[Path], folder: str) -> None:
        for file in files:
            shutil.copyfile(file, Path(folder) / file.name)
            self.pushed.append(file.name)

    def pull(self, files: Sequence[str], folder: Path) -> None:
        for file in files:
            shutil.copy(file, folder)


class EmulatedTransport(LocalTransport):
    """An arm64 machine without glibc: the bundle's own loader is run by qemu, the shell's tools are this machine's."""

    name = "emulated board"

    def __init__(self, root: Path) -> None:
        super().__init__()
        # ONNX Runtime crashes under qemu when it reads an x86 /proc/cpuinfo and topology.
        (root / "proc").mkdir()
        (root / "proc/cpuinfo").write_text(
            "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
            "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
        )
        cpus = root / "sys/devices/system/cpu"
        (cpus / "cpu0/topology").mkdir(parents=True)
        for name in ("possible", "present", "online", "kernel_max"):
            (cpus / name).write_text("0\n")
        self._emulator = [str(_QEMU), "-L", str(root)]

    def run(self, argv: Sequence[str]) -> Iterator[str]:
        argv = list(argv)
        place = next((place for place, word in enumerate(argv) if Path(word).name.startswith("ld-linux-aarch64")), None)
        if place is not None:
            argv[place:place] = self._emulator
        return super().run(argv)


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    if platform.machine() not in ("x86_64", "aarch64") or platform.system() != "Linux":
        pytest.skip("needs 64-bit Linux")
    return build_or_skip(platform.machine())


def build_or_skip(abi: str, with_loader: bool = False) -> Bundle:
    try:
        return build_bundle(abi, with_loader=with_loader)
    except LatencyError as error:
        pytest.skip(str(error))


@pytest.fixture
def transport() -> LocalTransport:
    return LocalTransport()


@pytest.fixture
def runner(bundle: Bundle, transport: LocalTransport, tmp_path: Path) -> NativeRunner:
    runner = NativeRunner(transport, bundle, str(tmp_path / "it's a board"))
    runner.install()
    return runner


@pytest.fixture(scope="module")
def models() -> dict[str, bytes]:
    return {name: block_model(block).SerializeToString() for name, block in BLOCKS.items()}


def expected(model: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    [tensor] = session.get_inputs()
    return probe_values(np.asarray(session.run(None, {tensor.name: probe_input(tuple(tensor.shape))})[0]))


def test_the_runner_says_what_it_runs_on(runner: NativeRunner, bundle: Bundle) -> None:
    hello = runner.hello()

    assert hello["ort"] == bundle.runtime
    assert hello["threads"] == 1
    assert 1 <= hello["clock_ns"] < 1_000_000
    assert set(hello["cpus"]) == os.sched_getaffinity(0)


def test_it_stays_on_the_cores_it_was_given(bundle: Bundle, transport: LocalTransport, tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    runner = NativeRunner(transport, bundle, str(tmp_path), cpus=[core])
    runner.install()

    assert runner.hello()["cpus"] == [core]


def test_a_core_that_is_not_there_is_refused_in_one_line(
    bundle: Bundle, transport: LocalTransport, tmp_path: Path
) -> None:
    runner = NativeRunner(transport, bundle, str(tmp_path), cpus=[1023])
    runner.install()

    with pytest.raises(
        LatencyError, match=r"^cannot run on the cores asked for: Invalid argument \(on this machine\)$"
    ):
        runner.hello()


def test_outputs_are_those_of_the_python_runtime(runner: NativeRunner, models: dict[str, bytes]) -> None:
    outputs = runner.outputs(models)

    assert list(outputs) == list(models)
    for name, model in models.items():
        np.testing.assert_allclose(outputs[name], expected(model), rtol=1e-5, atol=1e-6)


def test_an_output_of_one_value_more_than_is_sent_is_halved(runner: NativeRunner) -> None:
    model = constant_shape_model([1, 4097])

    output = runner.outputs({"wide": model})["wide"]

    np.testing.assert_array_equal(output, probe_values(np.maximum(probe_input((1, 4097)), 0)))
    assert output.shape == (2049,)


def test_every_model_is_timed_once_a_round_and_rounds_are_interleaved(
    runner: NativeRunner, models: dict[str, bytes]
) -> None:
    samples = list(runner.measure(models, range(5, 8)))

    assert [(sample.round, sample.model) for sample in samples] == [(n, name) for n in (5, 6, 7) for name in models]
    for sample in samples:
        assert 0 < sample.warm_ms < 10_000
        assert 0 < sample.cold_ms < 10_000
        assert sample.cpu_ms is not None
        assert sample.cpu_ms > 0


def test_a_warm_time_is_the_shortest_of_four_runs_in_a_row(runner: NativeRunner) -> None:
    """The processor worked about five times as long as in the shortest ones; with one warm run, about twice."""
    before, models = _children_s(), {"block": block_model(BLOCKS["mbconv 24x56"]).SerializeToString()}
    samples = list(runner.measure(models, range(1000)))
    assert runner.hello()["warm_runs"] == WARM_RUNS == 4
    worked_ms = 1000 * (_children_s() - before)
    assert worked_ms > 0.8 * (1 + WARM_RUNS) * sum(sample.cpu_ms or 0 for sample in samples)
    assert np.median([sample.warm_ms for sample in samples]) < WARM_MS / WARM_RUNS, "too large to be run four times"


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_processor_time_covers_all_threads(bundle: Bundle, transport: LocalTransport, tmp_path: Path) -> None:
    runner = NativeRunner(transport, bundle, str(tmp_path), threads=2)
    runner.install()
    [sample] = runner.measure({"block": block_model(BLOCKS["mbconv 24x56"]).SerializeToString()}, range(1))

    assert sample.cpu_ms is not None
    assert sample.cpu_ms > 0


def test_nothing_is_done_without_models_or_rounds(runner: NativeRunner, models: dict[str, bytes]) -> None:
    assert runner.outputs({}) == {}
    assert list(runner.measure({}, range(3))) == []
    assert list(runner.measure(models, range(3, 3))) == []


def test_models_and_bundle_are_copied_once(
    runner: NativeRunner, transport: LocalTransport, models: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "first.onnx"
    path.write_bytes(models["conv 3x64"])
    runner.outputs(models)
    transport.pushed.clear()

    runner.install()
    runner.outputs(models)
    list(runner.measure({"again": path}, range(1)))

    assert len(transport.pushed) == 1, "only the list of the last call is new"


def test_a_damaged_program_is_brought_again(
    runner: NativeRunner, transport: LocalTransport, bundle: Bundle, tmp_path: Path
) -> None:
    [library] = tmp_path.rglob("libonnxruntime.so")
    with library.open("r+b") as file:
        file.truncate(1000)

    runner.install()

    assert library.stat().st_size == (bundle.folder / "libonnxruntime.so").stat().st_size
    assert runner.hello()


def test_an_older_bundle_makes_room(runner: NativeRunner, tmp_path: Path) -> None:
    older = tmp_path / "it's a board/bundle-0123456789abcdef"
    older.mkdir()
    [current] = (path for path in older.parent.glob("bundle-*") if path != older)
    shutil.rmtree(current)

    runner.install()

    assert not older.exists()
    assert runner.hello()


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (b"no model", "Protobuf parsing failed"),
        ("int64", "input 'input' is not float32: only float32 is measured"),
        ("open", "input 'input' has no fixed shape"),
    ],
)
def test_a_broken_model_is_named(
    runner: NativeRunner, models: dict[str, bytes], broken: bytes | str, reason: str
) -> None:
    if isinstance(broken, str):
        kind = TensorProto.INT64 if broken == "int64" else TensorProto.FLOAT
        broken = constant_shape_model([1, "n" if broken == "open" else 4], kind)

    with pytest.raises(LatencyError, match=f"^third: .*{reason}") as caught:
        list(runner.measure({"first": models["conv 3x64"], "third": broken}, range(1)))

    assert not isinstance(caught.value, DeviceLost)
    assert "\n" not in str(caught.value)


def test_a_model_file_that_is_not_there_is_named(runner: NativeRunner, tmp_path: Path) -> None:
    with pytest.raises(LatencyError, match=r"^gone: cannot read .*/gone.onnx: No such file or directory$"):
        runner.outputs({"gone": tmp_path / "gone.onnx"})


def test_a_connection_that_breaks_keeps_its_samples(
    runner: NativeRunner, transport: LocalTransport, models: dict[str, bytes]
) -> None:
    samples = runner.measure(models, range(100_000))
    taken = [next(samples) for _ in range(4)]
    # The shell first, so that it cannot tell how the runner ended: as when a phone is unplugged.
    assert transport.process
    [runner_pid] = children(transport.process.pid)
    transport.process.kill()
    os.kill(runner_pid, signal.SIGKILL)

    with pytest.raises(DeviceLost, match="this machine went away in the middle"):
        taken.extend(samples)

    assert len(taken) >= 4
    assert next(iter(runner.measure(models, range(4, 5)))).round == 4


def test_a_runner_that_crashes_is_no_lost_device(
    runner: NativeRunner, transport: LocalTransport, models: dict[str, bytes]
) -> None:
    samples = runner.measure(models, range(100_000))
    next(samples)
    assert transport.process
    [runner_pid] = children(transport.process.pid)
    os.kill(runner_pid, signal.SIGSEGV)

    with pytest.raises(LatencyError, match="ended with code 139 on this machine") as caught:
        list(samples)
    assert not isinstance(caught.value, DeviceLost)


def test_the_runner_ends_when_nobody_listens(
    runner: NativeRunner, transport: LocalTransport, models: dict[str, bytes]
) -> None:
    samples = runner.measure(models, range(100_000_000))
    next(samples)
    assert transport.process
    [runner_pid] = children(transport.process.pid)

    samples.close()

    deadline = time.monotonic() + 10
    while Path(f"/proc/{runner_pid}").exists():
        assert time.monotonic() < deadline, "the runner still runs"
        time.sleep(0.05)


def test_noise_of_libraries_around_its_lines_does_no_harm(bundle: Bundle, tmp_path: Path) -> None:
    class NoisyTransport(LocalTransport):
        def run(self, argv: Sequence[str]) -> Iterator[str]:
            for line in super().run(argv):
                yield from ("warning: {not json}", f"cpuinfo: {line}" if line.startswith("{") else f"{line}\r")

    NativeRunner(LocalTransport(), bundle, str(tmp_path)).install()
    runner = NativeRunner(NoisyTransport(), bundle, str(tmp_path))

    assert runner.hello()["hello"] == 1


def test_a_device_that_is_full_is_refused_in_one_line(
    bundle: Bundle, transport: LocalTransport, tmp_path: Path
) -> None:
    if os.geteuid():
        pytest.skip("a small file system needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)], check=False).returncode:
        pytest.skip("cannot mount a small file system here")
    try:
        with pytest.raises(LatencyError, match=r"^this machine has 2.1 MB free in .*, and \d\d.\d MB are to go there"):
            NativeRunner(transport, bundle, str(tmp_path)).install()
        assert transport.pushed == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_library_that_is_not_onnx_runtime_is_refused(bundle: Bundle) -> None:
    argv = [str(bundle.folder / "fairnas-runner"), "--library", "libm.so.6", "--hello"]
    run = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert json.loads(run.stdout) == {"error": "libm.so.6 is not ONNX Runtime"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "expected one of --hello, --rounds FROM:TO and --outputs DIR"),
        (["--hello", "--rounds", "0:1"], "expected one of --hello, --rounds FROM:TO and --outputs DIR"),
        (["--rounds", "0:1"], "--models is missing"),
        (["--models", "x", "--rounds", "3"], "--rounds 3: cannot read ''"),
        (["--models", "x", "--rounds", "3:2"], "--rounds 3:2: expected a number from 3 to 2147483647 at '2'"),
        (["--threads", "0", "--hello"], "--threads 0: expected a number from 1 to 1024 at '0'"),
        (["--cpus", "1,", "--hello"], "--cpus 1,: expected a number from 0 to 1023 at ''"),
        (["--cpus"], "--cpus: unknown, or its value is missing"),
        (["--speed", "11", "--hello"], "--speed: unknown option"),
        (["--models", "/nowhere", "--rounds", "0:1"], "cannot read /nowhere: No such file or directory"),
    ],
)
def test_wrong_arguments_are_answered_in_one_line(bundle: Bundle, arguments: list[str], reason: str) -> None:
    run = subprocess.run([*bundle.command(str(bundle.folder)), *arguments], capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert json.loads(run.stdout.splitlines()[-1]) == {"error": reason}


def test_no_other_program_is_started_and_no_socket_opened(bundle: Bundle) -> None:
    if not shutil.which("strace"):
        pytest.skip("needs strace")
    argv = ["strace", "-f", "-e", "trace=execve,socket", *bundle.command(str(bundle.folder)), "--hello"]
    run = subprocess.run(argv, capture_output=True, text=True, check=True)

    calls = [line for line in run.stderr.splitlines() if "execve(" in line or "socket(" in line]
    assert len(calls) == 1, "its own start only"


def test_an_arm64_bundle_with_its_own_loader_answers_alike_under_qemu(models: dict[str, bytes], tmp_path: Path) -> None:
    if not _QEMU:
        pytest.skip("needs qemu-user (Debian: qemu-user-static)")
    root = tmp_path / "root"
    root.mkdir()
    runner = NativeRunner(EmulatedTransport(root), build_or_skip("aarch64", with_loader=True), str(tmp_path / "board"))
    runner.install()

    outputs = runner.outputs(models)
    samples = list(runner.measure(models, range(2)))

    for name, model in models.items():
        np.testing.assert_allclose(outputs[name], expected(model), rtol=1e-4, atol=1e-4 * np.abs(expected(model)).max())
    assert [(sample.round, sample.model) for sample in samples] == [(n, name) for n in (0, 1) for name in models]


def test_a_bundle_with_its_own_loader_runs_without_the_systems_glibc(tmp_path: Path, models: dict[str, bytes]) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("needs x86_64")
    runner = NativeRunner(LocalTransport(), build_or_skip("x86_64", with_loader=True), str(tmp_path))
    runner.install()

    assert len(list(runner.measure(models, range(1)))) == len(models)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def constant_shape_model(shape: list[int | str], kind: int = TensorProto.FLOAT) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Relu" if kind == TensorProto.FLOAT else "Abs", ["input"], ["output"])],
        "relu",
        [helper.make_tensor_value_info("input", kind, shape)],
        [helper.make_tensor_value_info("output", kind, shape)],
    )
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()
