"""Where the device, which has work, and the page, which does it, meet; each comes on threads of its own."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ...errors import DeviceLost, LatencyError
from .messages import Failure, From, Hello, Output, Samples, Taken

_POLL_S = 10.0
_FAREWELL_S = 2.0


class Refused(Exception):  # noqa: N818 - an answer that a page gets, not an error of ours
    """A request that changed nothing.

    Attributes:
        status: HTTP status code.
    """

    def __init__(self, status: int, line: str) -> None:
        super().__init__(line)
        self.status = status


class Job:
    """Models to run, each in some rounds; a (model, round) pair is a task, a model is named by its place.

    Attributes:
        contents: the models by SHA-256, under which a page fetches them.
        answers: answers that the device has not taken yet.
        failure: why it cannot be done.
    """

    def __init__(self, kind: Literal["outputs", "measure"], models: Mapping[str, bytes], rounds: range) -> None:
        self.id = secrets.token_hex(8)
        self.kind = kind
        self.names = list(models)
        self.contents = {hashlib.sha256(content).hexdigest(): content for content in models.values()}
        self._digests = [hashlib.sha256(content).hexdigest() for content in models.values()]
        self._tasks = frozenset((model, number) for number in rounds for model in range(len(models)))
        # In the order in which they are wanted: a dictionary is an ordered set.
        self._missing = dict.fromkeys((model, number) for number in rounds for model in range(len(models)))
        self.answers: deque[Taken | Output] = deque()
        self.failure: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether a page can do anything about it."""
        return bool(self._missing) and self.failure is None

    @property
    def is_answered(self) -> bool:
        """Whether every answer was given and taken."""
        return not self._missing and not self.answers

    def has_task(self, model: int, number: int) -> bool:
        """Whether this was asked for, answered or not."""
        return (model, number) in self._tasks

    def answer(self, model: int, number: int, answer: Taken | Output) -> None:
        """Take the first answer to a task; a page that got no reply sends the same again."""
        if (model, number) in self._missing:
            del self._missing[model, number]
            self.answers.append(answer)

    def for_page(self) -> dict[str, Any]:
        """The job as a page gets it: only what is missing, so that a page that was closed goes on."""
        return {
            "kind": self.kind,
            "job": self.id,
            "names": self.names,
            "digests": self._digests,
            "total": len(self._tasks),
            "missing": list(self._missing),
        }


class Exchange:
    """One device, at most one page, at most one job.

    Args:
        silence_s: a page that says nothing for so long is gone.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._changed = threading.Condition()
        self._page: str | None = None
        self._heard = 0.0
        self._hello: Hello | None = None
        self._job: Job | None = None
        self._closed = False

    # For pages; every method raises `Refused`, and then has changed nothing.

    def hello(self, hello: Hello) -> dict[str, Any]:
        """A page was opened; it takes over from an earlier one, unless that was in another browser."""
        with self._changed:
            if self._hello and self._hello.fingerprint() != hello.fingerprint():
                first = self._hello.fingerprint()
                raise Refused(
                    409,
                    f"measuring began in {first['name']} ({first['runtime']}, clock step {first['clock_us']} µs), and "
                    "this page runs in another way: start the command again to measure here",
                )
            self._hello, self._page = hello, secrets.token_hex(8)
            self._note_life()
            return {"page": self._page}

    def work(self, message: From) -> dict[str, Any]:
        """What to do next; waits a while for it."""
        with self._changed:
            self._check_page(message)
            self._note_life()
            self._changed.wait_for(
                lambda: self._open_job() or self._closed or self._page != message.page,
                min(_POLL_S, self._silence_s / 3),
            )
            self._check_page(message)
            self._note_life()
            if self._closed:
                self._page = None
                self._changed.notify_all()
                return {"kind": "end"}
            job = self._open_job()
            return job.for_page() if job else {"kind": "wait"}

    def samples(self, message: Samples) -> dict[str, Any]:
        """Times that were taken."""
        with self._changed:
            job = self._current_job(message, message.job, "measure")
            for sample in message.samples:
                if not job.has_task(sample.model, sample.round):
                    raise Refused(422, f"model {sample.model} in round {sample.round} was not asked for")
            for sample in message.samples:
                job.answer(sample.model, sample.round, sample)
            self._note_life()
            return {}

    def output(self, message: Output) -> dict[str, Any]:
        """What one model gave."""
        with self._changed:
            job = self._current_job(message, message.job, "outputs")
            if not job.has_task(message.model, 0):
                raise Refused(422, f"model {message.model} was not asked for")
            job.answer(message.model, 0, message)
            self._note_life()
            return {}

    def failure(self, message: Failure) -> dict[str, Any]:
        """A model that does not load or run."""
        with self._changed:
            job = self._current_job(message, message.job)
            if message.model >= len(job.names):
                raise Refused(422, f"model {message.model} was not asked for")
            job.failure = f"{job.names[message.model]} does not run in the browser: {message.error}"
            self._note_life()
            return {}

    def model(self, digest: str) -> bytes:
        """A model of the current job."""
        with self._changed:
            if self._job is None or digest not in self._job.contents:
                raise Refused(404, "no such model")
            self._note_life()
            return self._job.contents[digest]

    # For the device.

    def wait_for_page(self, timeout_s: float) -> Hello | None:
        """What the page that is open said of itself; None when there is none within `timeout_s`."""
        with self._changed:
            self._changed.wait_for(self._has_page, timeout_s)
            return self._hello if self._has_page() else None

    def answers(self, job: Job) -> Iterator[Taken | Output]:
        """Have a job done; answers as they come.

        Raises:
            LatencyError: a model does not load or run.
            DeviceLost: the page went silent.
        """
        with self._changed:
            self._job = job
            self._changed.notify_all()
        try:
            while not job.is_answered:
                yield self._next_answer(job)
        finally:
            with self._changed:
                self._job = None

    def close(self) -> None:
        """Tell the page that nothing follows, if it is there to hear it."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._has_page(), _FAREWELL_S)

    def _next_answer(self, job: Job) -> Taken | Output:
        with self._changed:
            while not job.answers:
                if job.failure:
                    raise LatencyError(job.failure)
                if not self._has_page():
                    raise DeviceLost(
                        f"the browser said nothing for {self._silence_s:g} s: keep its page open, in front, and the "
                        "screen on"
                    )
                self._changed.wait(self._heard + self._silence_s - time.monotonic())
            return job.answers.popleft()

    def _open_job(self) -> Job | None:
        return self._job if self._job and self._job.is_open else None

    def _current_job(self, message: From, job: str, kind: str | None = None) -> Job:
        self._check_page(message)
        if self._job is None or self._job.id != job:
            raise Refused(410, "this job is over")
        if kind and self._job.kind != kind:
            raise Refused(422, f"this job does not ask for {kind}")
        return self._job

    def _check_page(self, message: From) -> None:
        if message.page != self._page:
            raise Refused(409, "another page took over: this one is not needed any more")

    def _has_page(self) -> bool:
        return self._page is not None and time.monotonic() - self._heard < self._silence_s

    def _note_life(self) -> None:
        self._heard = time.monotonic()
        self._changed.notify_all()
