"""Pipeline processes to kill: a parent that has imported everything forks one in milliseconds.

Importing torch and timm takes seconds, and the tests of resuming start dozens of processes. The parent only imports:
once it had computed anything, its OpenMP threads would be missing in its children.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from fairnas.models import Architecture
    from fairnas.pipeline.runs.run import Run, Stage

# What a child does.


def fairnas(*arguments: str) -> None:
    """The command."""
    from fairnas.pipeline.cli import app as cli

    sys.argv = ["fairnas", *arguments]
    cli.main()


def fairnas_marking(wanted: str, marker: str, *arguments: str) -> None:
    """The command, which touches `marker` when stage `wanted` begins, and is killed where it ends, at the latest."""
    from fairnas.pipeline.runs.run import Run

    execute = Run.execute

    def marked(self: Run, stage: Stage) -> bool:
        if stage.name != wanted:
            return execute(self, stage)
        Path(marker).touch()
        execute(self, stage)
        _die()

    Run.execute = marked
    fairnas(*arguments)


def fairnas_dying(wanted: str, file: str, nth: str, *arguments: str) -> None:
    """The command, killed in stage `wanted` between writing the n-th temporary `file` and renaming it."""
    from fairnas.pipeline.runs.run import Run

    execute, replace = Run.execute, Path.replace
    running = ""
    seen = 0

    def tracked(self: Run, stage: Stage) -> bool:
        nonlocal running
        running = stage.name
        return execute(self, stage)

    def dying(path: Path, target: Path) -> Path:
        nonlocal seen
        seen += running == wanted and target.name == file
        if seen == int(nth):
            _die()
        return replace(path, target)

    Run.execute = tracked
    Path.replace = dying  # type: ignore[method-assign,assignment]
    fairnas(*arguments)


def fairnas_rank(rank: str, count: str, port: str, *arguments: str) -> None:
    """The command as one of the ranks that torchrun would start."""
    _be_rank(rank, count, port)
    fairnas(*arguments)


def fairnas_rank_failing(rank: str, count: str, port: str, *arguments: str) -> None:
    """The same, but the first rank cannot write its second checkpoint."""
    from fairnas.pipeline.runs.checkpoint import Checkpoint

    save, saved = Checkpoint.save, 0

    def full(self: Checkpoint, state: dict[str, Any]) -> None:
        nonlocal saved
        saved += 1
        if saved == 2:
            raise OSError(28, "No space left on device", str(self.path))
        save(self, state)

    Checkpoint.save = full
    fairnas_rank(rank, count, port, *arguments)


def rank_of(function: str, rank: str, count: str, port: str, out: str) -> None:
    """A function of `replicas.py` on one of several ranks; what it returns goes to `OUT-RANK.json`."""
    _be_rank(rank, count, port)
    sys.path.insert(0, str(Path(__file__).parent))
    import replicas  # pyright: ignore[reportMissingImports]
    from fairnas.pipeline import distributed

    with distributed.joined():
        answer = getattr(replicas, function)()
        if not distributed.is_first():  # which sends the others home at the end
            distributed.follow({})
    Path(f"{out}-{rank}.json").write_text(json.dumps(answer))


def _be_rank(rank: str, count: str, port: str) -> None:
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


def hold_with_worker(folder: str, marker: str) -> None:
    """Hold a run folder and have a worker process, whose id goes into `marker`, until killed."""
    from fairnas.common.files import write_atomic
    from fairnas.pipeline.runs.run import Run

    with Run(Path(folder)):
        worker = os.fork()
        if worker:
            write_atomic(Path(marker), str(worker))
        time.sleep(60)


def share_search(storage: str, folder: str, seconds: str, algorithm: str) -> None:
    """Take part in a search of 4 generations; architectures that were scored go to `FOLDER.scored`."""
    sys.path.insert(0, str(Path(__file__).parent / "search"))
    from problems import Curve, problem, run  # pyright: ignore[reportMissingImports]

    with Path(folder).with_suffix(".scored").open("a", buffering=1) as scored:

        def before(architecture: Architecture) -> None:
            time.sleep(float(seconds))
            print(*architecture.choices, file=scored)

        run(problem(Curve(before), storage=storage, algorithm=algorithm), Path(folder), study=f"test-{algorithm}")


def overwrite_and_die(path: str) -> None:
    """Be killed in the middle of replacing a file."""
    from fairnas.common import files

    os.fsync = lambda _: _die()
    files.write_atomic(Path(path), "new" * 100_000)


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


# The parent.


def _serve() -> None:
    import onnxscript  # noqa: F401
    import sklearn.datasets  # noqa: F401
    from fairnas.pipeline import pipeline  # noqa: F401
    from fairnas.pipeline.cli import app  # noqa: F401
    from optuna.storages._rdb import models  # noqa: F401

    gc.freeze()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    children: set[int] = set()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if not pid:
                _become(request)
            children.add(pid)
            answer: int | None = pid
        else:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
            children.discard(pid)
        print(json.dumps(answer), file=answers, flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _become(request: dict[str, Any]) -> NoReturn:
    """Do what was asked, with output in a file."""
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, standard in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, standard)
    # A shell starts background commands with SIGINT ignored, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code: Any = 0
    try:
        globals()[request["start"]](*request["arguments"])
    except SystemExit as stop:
        code = stop.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    os._exit(code)


# What tests use.


class Processes:
    """Starts processes."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._read()

    def start(self, what: Any, *arguments: str | Path, log: Path) -> Process:
        """Run one of the functions above in a process of its own; what it prints goes to `log`."""
        texts = [str(argument) for argument in arguments]
        return Process(self, self.ask({"start": what.__name__, "arguments": texts, "log": str(log)}), log)

    def ask(self, request: dict[str, Any]) -> Any:
        """Send a request, return the answer."""
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._read())

    def _read(self) -> str:
        assert self._server.stdout is not None
        answer = self._server.stdout.readline()
        assert answer, "the parent of the test processes ended"
        return answer

    def close(self) -> None:
        """End the parent, and with it what is still running."""
        self._server.communicate()


class Process:
    """A started process."""

    def __init__(self, processes: Processes, pid: int, log: Path) -> None:
        self._processes, self.pid, self._log = processes, pid, log
        self._code: int | None = None

    def wait(self, seconds: float = 300) -> int | None:
        """Exit code (minus the signal that killed it), or None when it still runs after `seconds`."""
        deadline = time.monotonic() + seconds
        while self._code is None:
            self._code = self._processes.ask({"poll": self.pid})
            if self._code is None:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.005)
        return self._code

    def wait_for(self, path: Path, seconds: float = 120) -> None:
        """Wait until a file is there."""
        deadline = time.monotonic() + seconds
        while not path.exists():
            assert self.wait(0) is None, f"ended before it wrote {path}: {self.output}"
            assert time.monotonic() < deadline, f"did not write {path} in {seconds} seconds: {self.output}"
            time.sleep(0.001)

    def send(self, number: signal.Signals) -> int | None:
        """Send a signal and wait for the end."""
        if self.wait(0) is None:
            os.kill(self.pid, number)
        return self.wait()

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self._log.read_text()


if __name__ == "__main__":
    _serve()
