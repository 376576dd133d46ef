"""Models measured by our own small program on a device that is reached through a shell: a phone, a board."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...common.files import sha256_file
from ..device import OnnxModel, Sample
from ..errors import DeviceLost, LatencyError
from .bundle import Bundle

# The device's shell says last how a program ended: nothing else tells an end from a lost connection.
_EXIT = "fairnas-exit"
_RUN = f'"$@" 2>&1; printf "\\n{_EXIT} %d\\n" $?'
# What tells a line of the runner from what libraries print: one of these is in it.
_RESULTS = {"hello", "round", "output"}


class Transport(Protocol):
    """The way to a device: run a program there, copy files to and fro.

    Attributes:
        name: the device as error lines name it, such as `phone 10.0.0.7:5555`.
    """

    name: str

    def run(self, argv: Sequence[str]) -> Iterator[str]:
        """Run a program on the device and give the lines of its standard output as they come, without line ends.

        The exit code is not asked for: `adb shell` of a phone that went away ends with 0. `NativeRunner` lets the
        device's shell print it instead. Standard error and standard input stay unused. Closing the iterator closes the
        connection.

        Args:
            argv: any text may be in an argument; what passes through a remote shell is quoted here (`shlex.join`).

        Raises:
            DeviceLost: there is no connection, or it broke.
        """
        ...

    def push(self, files: Sequence[Path], folder: str) -> None:
        """Copy files into a folder that is there already, under their own names.

        Args:
            files: at least one; a symbolic link stands for what it points to.
            folder: absolute path on the device.

        Raises:
            LatencyError: the device refused (no space, no permission); the line says what it said.
            DeviceLost: there is no connection, or it broke.
        """
        ...

    def pull(self, files: Sequence[str], folder: Path) -> None:
        """Copy files of the device, given by absolute paths, into a folder that is there; raises as `push` does."""
        ...


class NativeRunner:
    """One bundle in one folder of one device.

    Nothing is believed on the word of an exit code: a run succeeded if the runner's last line says so.
    """

    def __init__(
        self, transport: Transport, bundle: Bundle, folder: str, threads: int = 1, cpus: Sequence[int] = ()
    ) -> None:
        """Connects to nothing yet.

        Args:
            transport: the way to the device.
            bundle: made for the device's processor and system.
            folder: absolute path on the device, ours alone; made if missing. Programs must be allowed to run there.
            threads: of ONNX Runtime, within one model.
            cpus: cores to run on; none means that the device's scheduler decides.
        """
        self._transport, self._bundle, self._folder = transport, bundle, folder.rstrip("/")
        self._programs = f"{self._folder}/bundle-{bundle.digest[:16]}"
        self._models = f"{self._folder}/models"
        self._settings = ["--threads", str(threads), *(["--cpus", ",".join(map(str, cpus))] if cpus else [])]

    def install(self) -> None:
        """Bring the bundle; one that is there and whole (by SHA-256) is left alone, other ones are removed.

        Raises:
            LatencyError: the device has no room, or what arrived is not what was sent.
            DeviceLost: it is not there at the moment.
        """
        self._script('mkdir -p "$1" "$2"', self._programs, self._models)
        if self._differing():
            self._script('rm -rf "$1"/bundle-*; mkdir "$2"', self._folder, self._programs)
            self._push([self._bundle.folder / name for name in self._bundle.files], self._programs)
            if differing := self._differing():
                raise LatencyError(
                    f"{differing} did not arrive whole in {self._programs} on {self._transport.name}: "
                    "check the room there and the connection, then try again"
                )
        self._script('cd "$1"; chmod 755 *', self._programs)

    def hello(self) -> dict[str, Any]:
        """Start the runner once.

        Returns:
            `ort` (version of ONNX Runtime), `threads`, `warm_runs` (see `Sample`), `clock_ns` (smallest step of its
            clock) and `cpus` (cores it may use).

        Raises:
            LatencyError: it does not start there.
            DeviceLost: the device is not there at the moment.
        """
        [hello] = self._answers(["--hello"], [])
        return hello

    def outputs(self, models: Mapping[str, OnnxModel]) -> dict[str, np.ndarray]:
        """See `Device.outputs`."""
        if not models:
            return {}
        listing = self._bring(models)
        remote = f"{listing}.outputs"
        self._script('rm -rf "$1"; mkdir "$1"', remote)
        _, *answers = self._answers(["--models", listing, "--outputs", remote], list(models))
        files = [f"{answer['output']}.f32" for answer in answers]
        with tempfile.TemporaryDirectory() as folder:
            self._transport.pull([f"{remote}/{file}" for file in files], Path(folder))
            values = [np.fromfile(Path(folder) / file, dtype="<f4").astype(np.float32) for file in files]
        self._script('rm -r "$1"', remote)
        for name, answer, output in zip(models, answers, values, strict=True):
            if output.size != answer["values"]:
                raise LatencyError(
                    f"{name}: {output.size} of {answer['values']} output values came back from "
                    f"{self._transport.name}: try again"
                )
        return dict(zip(models, values, strict=True))

    def measure(self, models: Mapping[str, OnnxModel], rounds: range) -> Generator[Sample]:
        """See `Device.measure`."""
        if not models or not rounds:
            return
        if rounds.step != 1:
            raise LatencyError(f"cannot measure {rounds}: rounds follow one another")
        names = list(models)
        arguments = ["--models", self._bring(models), "--rounds", f"{rounds.start}:{rounds.stop}"]
        with closing(self._answers(arguments, names)) as answers:
            next(answers)
            for answer in answers:
                times = (answer[f"{run}_ns"] / 1e6 for run in ("cold", "warm", "cpu"))
                yield Sample(names[answer["model"]], answer["round"], *times)

    def _differing(self) -> str | None:
        """The first file of the bundle that is not there, or not whole."""
        lines = self._script('cd "$1"; for file in *; do [ ! -f "$file" ] || sha256sum "$file"; done', self._programs)
        there = {name: digest for digest, name in (line.split(maxsplit=1) for line in lines)}
        return next((name for name, digest in self._bundle.files.items() if there.get(name) != digest), None)

    def _bring(self, models: Mapping[str, OnnxModel]) -> str:
        """Bring the models that the device does not have yet, and the list of all; gives the list's path there.

        What lies in the store is called by its content and whole: it is moved there after its size was checked.
        """
        with tempfile.TemporaryDirectory() as folder:
            stage = Path(folder)
            paths = [f"{self._models}/{_staged(name, model, stage)}\n" for name, model in models.items()]
            listing = _staged("list", "".join(paths).encode(), stage)
            there = set(self._script('ls "$1"', self._models))
            missing = [file for file in sorted(stage.iterdir()) if file.name not in there]
            if missing:
                arriving = f"{self._models}/{listing}.arriving"
                self._script('rm -rf "$1"; mkdir "$1"', arriving)
                self._push(missing, arriving)
                lines = self._script('cd "$1"; wc -c *', arriving)
                sizes = {name: int(size) for size, name in (line.split(maxsplit=1) for line in lines)}
                if any(sizes.get(file.name) != file.stat().st_size for file in missing):
                    raise LatencyError(
                        f"models did not arrive whole in {self._folder} on {self._transport.name}: "
                        "check the room there and the connection, then try again"
                    )
                self._script('mv "$1"/* "$2"; rmdir "$1"', arriving, self._models)
        return f"{self._models}/{listing}"

    def _push(self, files: Sequence[Path], folder: str) -> None:
        needed = sum(file.stat().st_size for file in files)
        free = self._free_bytes()
        if free is not None and free < needed:
            raise LatencyError(
                f"{self._transport.name} has {free / 1e6:.1f} MB free in {self._folder}, and "
                f"{needed / 1e6:.1f} MB are to go there: make room"
            )
        self._transport.push(files, folder)

    def _free_bytes(self) -> int | None:
        """Room in the work folder; None where the device does not tell (in a chroot `df` may find no mount)."""
        fields = self._script('df -P -k "$1" || true', self._folder)[-1].split()
        return int(fields[3]) * 1024 if len(fields) == 6 and fields[3].isdigit() else None

    def _answers(self, arguments: Sequence[str], names: Sequence[str]) -> Generator[dict[str, Any]]:
        """What the runner says, from its hello to the sentinel.

        Args:
            arguments: of the runner, without those that every run has.
            names: of the models, by place, for errors.
        """
        said, promised = 0, None
        with closing(self._run([*self._bundle.command(self._programs), *self._settings, *arguments])) as lines:
            for line in lines:
                answer = _json_object(line)
                if "error" in answer:
                    name = f"{names[answer['model']]}: " if "model" in answer else ""
                    raise LatencyError(f"{name}{answer['error']} (on {self._transport.name})")
                if "done" in answer:
                    promised = answer["done"]
                elif answer.keys() & _RESULTS:
                    said += "hello" not in answer
                    yield answer
        if said != promised:
            raise LatencyError(f"{said} of {promised} results came back from {self._transport.name}: try again")

    def _script(self, script: str, *arguments: str) -> list[str]:
        """Run a fixed script in the device's shell, up to the first command that fails; arguments are `$1`, ..."""
        return list(self._run(["sh", "-ec", script, "sh", *arguments]))

    def _run(self, argv: Sequence[str]) -> Generator[str]:
        """The lines that a program prints, blank ones left out.

        Raises:
            LatencyError: it failed; the line gives its last words.
            DeviceLost: its end was not seen.
        """
        code, last_words = None, ""
        for raw in self._transport.run(["sh", "-c", _RUN, "sh", *argv]):
            line = raw.strip()
            if line.startswith(_EXIT):
                code = int(line.removeprefix(_EXIT))
            elif line:
                last_words = line
                yield line
        if code is None:
            raise DeviceLost(f"{self._transport.name} went away in the middle: connect it and run the same again")
        if code:
            raise LatencyError(f"{argv[0]} ended with code {code} on {self._transport.name}: {last_words}")


def _staged(name: str, model: OnnxModel, stage: Path) -> str:
    """Put a model into a local folder under the digest of its content; gives that file name."""
    try:
        digest = sha256_file(model) if isinstance(model, Path) else hashlib.sha256(model).hexdigest()
    except OSError as error:
        raise LatencyError(f"{name}: cannot read {model}: {error.strerror}") from error
    file = stage / digest
    if isinstance(model, bytes):
        file.write_bytes(model)
    elif not file.is_symlink():
        file.symlink_to(model.resolve())
    return digest


def _json_object(line: str) -> dict[str, Any]:
    """The object at the end of a line; empty if there is none: libraries print what they like, also before it."""
    try:
        return json.loads(line[line.index('{"') :])
    except ValueError:
        return {}
