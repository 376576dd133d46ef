"""Damaged checkpoints: the one before takes over, and the end is an unbroken training's; or one line says why not."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from fairnas.models import any_space, parse_any_network
from fairnas.pipeline.check_settings import load_config
from fairnas.pipeline.config import Config
from fairnas.pipeline.data import Dataset, load_dataset
from fairnas.pipeline.errors import Paused, UserError
from fairnas.pipeline.retrain.train import retrain
from fairnas.pipeline.runs import checkpoint as checkpoints
from fairnas.pipeline.runs import stopping
from fairnas.pipeline.runs.checkpoint import Checkpoint, Owner
from fairnas.pipeline.runs.checkpoint_file import SEAL
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.supernet.train import train_supernet
from fairnas.pipeline.training.diverged import Diverged
from timm.scheduler.scheduler import Scheduler

KINDS = ("supernet", "retrain")
OWNERS = {kind: Owner(kind, f"key of {kind}") for kind in KINDS}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", heldout=0.2, seed=0, train_images=64)


def train(kind: str, digits: Dataset, workspace: Workspace, *overrides: str, lr: float | None = None) -> None:
    """Train something small; a learning rate that settings refuse is put in behind their back."""

    def with_lr(config: Config) -> Config:
        if lr is None:
            return config
        return config.model_copy(update={kind: getattr(config, kind).model_copy(update={"lr": lr})})

    small = ["proxy.width=0.25", "deploy.resolution=32"]
    if kind == "supernet":
        settings = [
            "space=macro",
            "proxy.resolution=16",
            "supernet.sampling=spos",
            "supernet.batch_size=32",
            "supernet.init=independent",
        ]
        config = with_lr(load_config("tiny", [*small, *settings, "supernet.epochs=1", *overrides]))
        train_supernet(config, any_space("macro").scaled(0.25), digits, workspace)
    else:
        settings = ["retrain.init=scratch", "retrain.batch_size=512", "retrain.validate_epochs=9"]
        config = with_lr(load_config("tiny", [*small, *settings, "retrain.epochs=2", *overrides]))
        retrain("it", parse_any_network("timm:test_efficientnet"), config, digits, workspace)


def pause(kind: str, digits: Dataset, folder: Path, times: int = 2) -> Path:
    for _ in range(times):
        with pytest.raises(Paused):
            train(kind, digits, Workspace(folder, deadline=0, owner=OWNERS[kind]))
    return folder


@pytest.fixture(scope="module")
def paused(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folders of trainings that were paused after their second update, with two checkpoints."""
    return cache(lambda kind: pause(kind, digits, tmp_path_factory.mktemp(kind)))


@pytest.fixture(scope="module")
def whole(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], bytes]:
    """Weights of unbroken trainings."""

    def make(kind: str) -> bytes:
        folder = tmp_path_factory.mktemp(kind)
        train(kind, digits, Workspace(folder, owner=OWNERS[kind]))
        return (folder / "weights.safetensors").read_bytes()

    return cache(make)


def content_of(path: Path) -> dict[str, Any]:
    return torch.load(io.BytesIO(path.read_bytes()[32:]), weights_only=True)


def sealed(payload: bytes, seal: bytes = SEAL) -> bytes:
    return hashlib.sha256(seal + payload).digest() + payload


def written(content: Any, seal: bytes = SEAL) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return sealed(buffer.getvalue(), seal)


def bytewise(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


def inside(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Change the content and sign it rightly: the content itself is checked."""

    def damage(path: Path) -> None:
        content = content_of(path)
        change(content)
        path.write_bytes(written(content))

    return damage


def state(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    return inside(lambda content: change(content["state"]))


def network(saved: dict[str, Any]) -> dict[str, Any]:
    return saved["network" if "network" in saved else "supernet"]


def first(saved: dict[str, Any]) -> str:
    return next(iter(network(saved)))


def with_step(step: Any) -> Callable[[Path], None]:
    return inside(lambda content: (content.update(step=step), content["state"].update(step=step)))


def odd(make: Callable[[Path], Any]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("true",)


def signed_code() -> bytes:
    buffer = io.BytesIO()
    torch.save({"state": Code()}, buffer)
    return sealed(buffer.getvalue())


DAMAGES: dict[str, Callable[[Path], None]] = {
    "cut": bytewise(lambda content: content[:-100]),
    "empty": bytewise(lambda _: b""),
    "a byte": bytewise(lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:]),
    "digest": bytewise(lambda content: b"x" + content[1:]),
    "signed as an earlier version": bytewise(lambda content: sealed(content[32:], b"")),
    "signed_garbage": bytewise(lambda _: sealed(b"garbage" * 100)),
    "signed_empty": bytewise(lambda _: sealed(b"")),
    "signed_zip_cut": bytewise(lambda content: sealed(content[32:-500])),
    "signed_pickle_code": bytewise(lambda _: signed_code()),
    "signed_list": bytewise(lambda _: written([1, 2])),
    "fifo_instead": odd(os.mkfifo),
    "other format": inside(lambda content: content.update(format=99)),
    "format text": inside(lambda content: content.update(format="2")),
    "other stage": inside(lambda content: content.update(stage="retrain/pick-7")),
    "other key": inside(lambda content: content.update(key="another seed")),
    "no key": inside(lambda content: content.pop("key")),
    "other step": inside(lambda content: content.update(step=1)),
    "no_rng": inside(lambda content: content.pop("torch_rng")),
    "rng_short": inside(lambda content: content.update(torch_rng=torch.zeros(5, dtype=torch.uint8))),
    "rng_floats": inside(lambda content: content.update(torch_rng=torch.zeros(5056))),
    "rng_text": inside(lambda content: content.update(torch_rng="rng")),
    "cuda_rng_null": inside(lambda content: content.update(cuda_rng=None)),
    "state_null": inside(lambda content: content.update(state=None)),
    "step_beyond_end": with_step(10**6),
    "step_negative": with_step(-1),
    "step_zero": with_step(0),
    "step_text": with_step("2"),
    "step_bool": with_step(True),
    "step_one_less": with_step(1),
    "metrics_null": state(lambda saved: saved.update(metrics=None)),
    "metrics_rows": state(lambda saved: saved.update(metrics=[1, 2])),
    "metrics_nan": state(lambda saved: saved.update(metrics=[{"epoch": 0, "loss": float("nan")}])),
    "tensor_missing": state(lambda saved: network(saved).pop(first(saved))),
    "tensor_more": state(lambda saved: network(saved).update(more=torch.zeros(3))),
    "tensor_other_shape": state(lambda saved: network(saved).update({first(saved): torch.zeros(3)})),
    "tensor_other_type": state(lambda saved: network(saved).update({first(saved): "weights"})),
    "tensor_double": state(lambda saved: network(saved).update({first(saved): network(saved)[first(saved)].double()})),
    "tensor_nan": state(lambda saved: network(saved)[first(saved)].fill_(float("nan"))),
    "tensor_inf": state(lambda saved: network(saved)[first(saved)].fill_(float("inf"))),
    "optimizer_null": state(lambda saved: saved.update(optimizer=None)),
    "optimizer_groups": state(lambda saved: saved["optimizer"].update(param_groups=[])),
    "optimizer_slots": state(lambda saved: saved["optimizer"]["state"].update({10**5: {}})),
    "optimizer_nan": state(lambda saved: saved["optimizer"]["param_groups"][0].update(lr=float("nan"))),
    "scheduler_missing": state(lambda saved: saved.pop("scheduler")),
}
OF_A_STAGE = {
    "supernet": {
        "ledger_missing": state(lambda saved: saved.pop("ledger")),
        "ledger_steps": state(lambda saved: saved["ledger"].update(steps=1)),
        "ledger_counts": state(lambda saved: saved["ledger"].update(counts=[[1]])),
        "sampling_missing": state(lambda saved: saved.pop("sampling")),
        "sampling_generator": state(lambda saved: saved["sampling"].update(bit_generator="MT19937")),
    },
    "retrain": {
        "ema_null": state(lambda saved: saved.update(ema=None)),
        "ema_missing": state(lambda saved: saved.pop("ema")),
        "epoch_loss_nan": state(lambda saved: saved.update(epoch_loss=float("nan"))),
        "epoch_loss_missing": state(lambda saved: saved.pop("epoch_loss")),
    },
}
CASES = [(kind, name) for kind in KINDS for name in (*DAMAGES, *OF_A_STAGE[kind])]
# Some of them to the training's end: that nothing was touched before the file was found sound shows in the weights.
FINISHED = [("supernet", "rng_floats"), ("retrain", "tensor_nan"), ("retrain", "other key")]
if "RESUME_MOMENTS" in os.environ:
    FINISHED = CASES


class Caught(BaseException):
    """What a training asked of its checkpoint."""


@pytest.fixture(scope="module")
def asked(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Any, Any]]:
    """What a training's fresh state is, and what it checks besides: all that a file is read with."""

    def catch(kind: str) -> tuple[Any, Any]:
        caught: list[Any] = []

        def load(_: Checkpoint, fresh: Any, check: Any) -> Any:
            caught.extend((fresh, check))
            raise Caught

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Checkpoint, "load", load)
            with pytest.raises(Caught):
                train(kind, digits, Workspace(tmp_path_factory.mktemp(kind)))
        return caught[0], caught[1]

    return cache(catch)


def damaged(kind: str, name: str, paused: Callable[[str], Path], folder: Path) -> Path:
    shutil.copytree(paused(kind), folder)
    (DAMAGES | OF_A_STAGE[kind])[name](folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_damaged_checkpoint_is_passed_over_or_refused(
    kind: str,
    name: str,
    paused: Callable[[str], Path],
    asked: Callable[[str], tuple[Any, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = damaged(kind, name, paused, tmp_path / "run")
    before = path.with_name("checkpoint.previous.pt")
    fresh, check = asked(kind)
    kept, generator = before.read_bytes(), torch.get_rng_state()
    alone = tmp_path / "alone" / "checkpoint.pt"
    alone.parent.mkdir()
    os.mkfifo(alone) if path.is_fifo() else shutil.copy(path, alone)

    with pytest.raises(UserError) as refusal:
        Checkpoint(alone, 0.0, owner=OWNERS[kind]).load(fresh, check)
    assert str(refusal.value).startswith(f"{alone} is damaged: it ")
    assert str(refusal.value).endswith(f": delete it and run the same command to start {kind} again")
    assert "\n" not in str(refusal.value)
    assert torch.equal(torch.get_rng_state(), generator)

    capsys.readouterr()
    state = Checkpoint(path, 0.0, owner=OWNERS[kind]).load(fresh, check)
    assert state is not None
    assert state["step"] == 1
    assert path.read_bytes() == kept
    assert not before.exists()
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"{path} is damaged: it ")
    assert told.endswith("; going on from the checkpoint before it")


@pytest.mark.parametrize(("kind", "name"), FINISHED)
def test_after_damage_the_end_is_that_of_an_unbroken_training(
    kind: str,
    name: str,
    digits: Dataset,
    paused: Callable[[str], Path],
    whole: Callable[[str], bytes],
    tmp_path: Path,
) -> None:
    path = damaged(kind, name, paused, tmp_path / "run")
    train(kind, digits, Workspace(path.parent, owner=OWNERS[kind]))
    assert (path.parent / "weights.safetensors").read_bytes() == whole(kind)


def test_where_both_are_damaged_a_line_names_both(
    paused: Callable[[str], Path], asked: Callable[[str], tuple[Any, Any]], tmp_path: Path
) -> None:
    path = damaged("supernet", "cut", paused, tmp_path / "run")
    before = path.with_name("checkpoint.previous.pt")
    before.write_bytes(b"")
    with pytest.raises(UserError) as refusal:
        Checkpoint(path, 0.0, owner=OWNERS["supernet"]).load(*asked("supernet"))
    assert str(refusal.value) == (
        f"{path} is damaged: it is not what was written and {before} is damaged: it is not what was written: delete "
        "both and run the same command to start supernet again"
    )


def earlier(path: Path, change: Callable[[dict[str, Any]], Any] = lambda _: None) -> None:
    """Write a checkpoint as earlier versions did: no format, no owner, no seal."""
    content = content_of(path)
    old = {key: content[key] for key in ("torch_rng", "cuda_rng", "state")}
    change(old)
    path.write_bytes(written(old, b""))


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_an_earlier_version_is_gone_on_from(
    kind: str, digits: Dataset, paused: Callable[[str], Path], whole: Callable[[str], bytes], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(paused(kind), tmp_path / "run"))
    (folder / "checkpoint.previous.pt").unlink()
    earlier(folder / "checkpoint.pt")
    train(kind, digits, Workspace(folder, owner=OWNERS[kind]))
    assert (folder / "weights.safetensors").read_bytes() == whole(kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lacking", ["rng", "wrapper", "ledger or ema", "step"])
def test_a_checkpoint_of_an_earlier_version_that_lacks_something_is_refused(
    kind: str, lacking: str, digits: Dataset, paused: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(paused(kind), tmp_path / "run"))
    (folder / "checkpoint.previous.pt").unlink()
    path = folder / "checkpoint.pt"
    if lacking == "wrapper":
        path.write_bytes(written(content_of(path)["state"], b""))
    else:
        part = {"rng": "", "step": "step", "ledger or ema": "ledger" if kind == "supernet" else "ema"}[lacking]
        earlier(path, lambda old: old["state"].pop(part) if part else old.pop("torch_rng"))
    with pytest.raises(UserError, match=r"checkpoint.pt is damaged: it lacks .*: delete it and run the same command"):
        train(kind, digits, Workspace(folder, owner=OWNERS[kind]))


def test_a_checkpoint_of_another_stage_is_not_believed(
    digits: Dataset, paused: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(paused("retrain"), tmp_path / "run"))
    with pytest.raises(UserError, match="it is of stage retrain, not of supernet") as refusal:
        train("supernet", digits, Workspace(folder, owner=OWNERS["supernet"]))
    assert "delete both" in str(refusal.value)
    other = replace(OWNERS["retrain"], key="another seed")
    with pytest.raises(UserError, match="it is of other settings or inputs, such as another seed"):
        train("retrain", digits, Workspace(folder, owner=other))


def test_a_kill_between_the_two_files_loses_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Checkpoint(tmp_path / "checkpoint.pt", 0.0)
    kept.save({"step": 1})

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "write_atomic", full)
        with pytest.raises(OSError, match="No space"):
            kept.save({"step": 2})
    assert kept.load({"step": 0}) == {"step": 1}
    kept.save({"step": 2})
    kept.save({"step": 3})
    assert [content_of(tmp_path / name)["step"] for name in ("checkpoint.pt", "checkpoint.previous.pt")] == [3, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_stops_after_the_step_with_a_checkpoint(
    kind: str,
    digits: Dataset,
    whole: Callable[[str], bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    signals: None,
) -> None:
    workspace, steps = Workspace(tmp_path / "run", owner=OWNERS[kind]), 0

    def step_update(self: Scheduler, number: int) -> Any:
        nonlocal steps
        steps += stopping._waiting_for_a_step  # settings are tried before, with a scheduler of their own
        if steps == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return unbroken(self, number)

    unbroken = Scheduler.step_update
    with monkeypatch.context() as patched, stopping.listening():
        patched.setattr(Scheduler, "step_update", step_update)
        with pytest.raises(stopping.Stopped):
            train(kind, digits, workspace)
    assert stopping.exit_code() == 143
    assert content_of(workspace.folder / "checkpoint.pt")["step"] == 2
    stopping.forget({})
    train(kind, digits, workspace)
    assert (workspace.folder / "weights.safetensors").read_bytes() == whole(kind)


# What has diverged.


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        ("supernet", "Lower supernet.lr (1e+30)"),
        ("retrain", "Lower retrain.lr (1e+30), or clip gradients: retrain.clip_grad=1"),
    ],
)
def test_a_diverging_training_stops(kind: str, advice: str, digits: Dataset, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "run", owner=OWNERS[kind])
    with pytest.raises(Diverged) as stopped:
        train(kind, digits, workspace, f"{kind}.warmup_epochs=0", f"{kind}.checkpoint_seconds=0", lr=1e30)
    line = str(stopped.value)
    print(line)
    assert line.endswith(f"no weights are written. {advice}")
    assert "has diverged: " in line
    assert "at step " in line
    assert not (workspace.folder / "weights.safetensors").exists()
    for path in workspace.folder.glob("checkpoint*"):
        saved = network(content_of(path)["state"])
        assert all(tensor.isfinite().all() for tensor in saved.values())
    for path in workspace.folder.glob("metrics.jsonl"):
        assert not {"NaN", "Infinity"} & set(path.read_text().replace(",", " ").split())
