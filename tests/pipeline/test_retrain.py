"""Stand-alone training of any network, from given weights, with a teacher, at two sizes; and transfer."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairnas.models import build_any_network, parse_any_network
from fairnas.pipeline.check_settings import load_config
from fairnas.pipeline.cli import app as cli
from fairnas.pipeline.data import Augment, Dataset, load_dataset
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.pipeline import Pipeline
from fairnas.pipeline.retrain import learner
from fairnas.pipeline.retrain import train as retrain
from fairnas.pipeline.retrain.transfer import find_trained
from fairnas.pipeline.runs.run import Run, Workspace
from PIL import Image
from safetensors.torch import load_file, save_file

NETWORK = "timm:test_efficientnet"
BASE = ["retrain.init=scratch", "retrain.epochs=1", "retrain.batch_size=256", "retrain.ema_decay=null"]
CLASSIFIER = {"classifier.weight", "classifier.bias"}
MODULE = """
from torch import nn

def make(num_classes=10, width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(width, num_classes))

def seven():
    return make(7)

class Maps(nn.Module):
    def forward(self, x):
        return x
"""


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", heldout=0.2, seed=0)


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path[:])
    name = f"mine_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    return name


def train(network: str, dataset: Dataset, folder: Path, *overrides: str) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    config = load_config("tiny", [*BASE, *overrides])
    retrain.retrain("it", parse_any_network(network), config, dataset, Workspace(folder))
    return json.loads((folder / "result.json").read_text())


def test_a_network_of_timm(digits: Dataset, tmp_path: Path) -> None:
    result = train(NETWORK, digits, tmp_path / "it", "retrain.epochs=2")
    assert result["architecture"] == NETWORK
    network = build_any_network(parse_any_network(NETWORK), num_classes=10)
    network.load_state_dict(load_file(tmp_path / "it" / "weights.safetensors"))
    rows = [json.loads(line) for line in (tmp_path / "it" / "metrics.jsonl").read_text().splitlines()]
    assert rows[1]["train_loss"] < rows[0]["train_loss"]


def test_a_users_network_learns(digits: Dataset, module: str, tmp_path: Path) -> None:
    more = ["retrain.epochs=12", "retrain.batch_size=32", "retrain.augment.level=none", "retrain.opt=adam"]
    result = train(f"{module}:make", digits, tmp_path / "it", *more, "retrain.validate_epochs=5")
    assert result["architecture"] == f"{module}:make"
    assert result["val_top1"] > 0.25  # chance is 0.1
    rows = [json.loads(line) for line in (tmp_path / "it" / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if "val_top1" in row] == [4, 9, 11]


def test_gradients_that_are_clipped_move_weights_no_further(digits: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = build_any_network(parse_any_network(NETWORK), num_classes=10)
    save_file(start.state_dict(), tmp_path / "start.safetensors")
    plain = ["retrain.init=weights", f"retrain.weights={tmp_path / 'start.safetensors'}", "retrain.weight_decay=0"]
    plain += ["retrain.opt=sgd", "retrain.momentum=0", "retrain.opt_args.nesterov=false", "retrain.lr=0.5"]
    plain += ["retrain.warmup_epochs=0"]

    def moved(folder: Path, *more: str) -> float:
        train(NETWORK, digits, folder, *plain, *more)
        weights = load_file(folder / "weights.safetensors")
        return (
            sum(float((weights[name] - value.detach()).square().sum()) for name, value in start.named_parameters())
            ** 0.5
        )

    steps = -(-len(digits.train) // 256)
    assert 0 < moved(tmp_path / "clipped", "retrain.clip_grad=0.001") <= 0.5 * 0.001 * steps * 1.01
    assert moved(tmp_path / "free") > 0.1


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("{}:seven", "gives 7 logits, and the images have 10 classes"),
        ("{}:Maps", "the network does not answer with logits"),
        ("{}:nothing", "cannot make a network of"),
        ("timm:ghostnet_050", "cannot make a network of timm:ghostnet_050: "),
    ],
)
def test_networks_that_cannot_be_trained(
    digits: Dataset, module: str, tmp_path: Path, network: str, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        train(network.format(module), digits, tmp_path / "it", "retrain.drop_path=0.1")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_smaller_images_first(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def seen(*arguments: Any, resolution: int, **options: Any) -> Iterator[Any]:
        sizes.append(resolution)
        return batches(*arguments, resolution=resolution, **options)

    batches = learner.train_batches
    monkeypatch.setattr(learner, "train_batches", seen)
    more = ["deploy.resolution=40", "retrain.epochs=3", "retrain.first_epochs=2", "retrain.first_resolution=32"]
    assert train(NETWORK, digits, tmp_path / "it", *more)["resolution"] == 40
    assert sizes == [32, 32, 40]


def test_a_teacher_that_decides_all_makes_the_student_answer_alike(
    digits: Dataset, module: str, tmp_path: Path
) -> None:
    """With labels that teach nothing, whatever is learnt comes from the teacher."""
    more = ["retrain.batch_size=32", "retrain.augment.level=none", "retrain.opt=adam", "retrain.epochs=10"]
    train(f"{module}:make", digits, tmp_path / "teacher", *more)
    weights = tmp_path / "teacher" / "weights.safetensors"
    given = [f"retrain.distillation.teacher={module}:make", f"retrain.distillation.weights={weights}"]
    shuffled = load_dataset("digits", heldout=0.2, seed=0)
    shuffled.full_train.labels.copy_(shuffled.full_train.labels[torch.randperm(len(shuffled.full_train.labels))])
    agreement: list[float] = []
    for share in ("0.01", "1.0"):
        train(f"{module}:make", shuffled, tmp_path / share, *more, *given, f"retrain.distillation.share={share}")
        networks = [build_any_network(parse_any_network(f"{module}:make")).eval() for _ in range(2)]
        for network, folder in zip(networks, ("teacher", share), strict=True):
            network.load_state_dict(load_file(tmp_path / folder / "weights.safetensors"))
        images = next(learner.train_batches(digits.full_train, **PLAIN))[0]
        with torch.inference_mode():
            answers = [network(images).argmax(1) for network in networks]
        agreement.append(float((answers[0] == answers[1]).float().mean()))
    assert agreement[1] > agreement[0] + 0.1


PLAIN: Any = {"batch_size": 512, "resolution": 32, "augment": Augment(level="none"), "seed": 0, "epoch": 0}


def key_of(run: Path, config_overrides: list[str], dataset: Dataset, network: str) -> str:
    """The key of a training; what is stored under it is taken from the first."""
    with Run(run) as held:
        work = Pipeline(load_config("tiny", [*BASE, *config_overrides]), held, dataset)
        work.retrain({"it": parse_any_network(network)})
        return held.manifest["stages"]["retrain/it"]["key"]


def test_files_count_by_what_they_hold(
    digits: Dataset, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The teacher's weights, one's own, and the user's code are part of the key; their paths are not."""

    def quick(name: str, source: Any, config: Any, dataset: Any, work: Workspace, supernet: Any) -> None:
        for output in retrain.OUTPUTS:
            (work.folder / output).write_text("{}")

    monkeypatch.setattr(retrain, "retrain", quick)
    save_file({"a": torch.zeros(1)}, tmp_path / "one.safetensors")
    shutil.copy(tmp_path / "one.safetensors", tmp_path / "copy.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")

    def taught(name: str) -> str:
        path = tmp_path / f"{name}.safetensors"
        given = ["retrain.distillation.teacher=fairnas_c", f"retrain.distillation.weights={path}"]
        return key_of(tmp_path / "run", given, digits, NETWORK)

    def begun(name: str) -> str:
        given = ["retrain.init=weights", f"retrain.weights={tmp_path / name}.safetensors"]
        return key_of(tmp_path / "run", given, digits, NETWORK)

    for key in (taught, begun):
        assert key("one") == key("copy") != key("other")
    assert taught("one") != begun("one")
    code = tmp_path / f"{module}.py"
    keys = [key_of(tmp_path / "run", [], digits, f"{module}:make")]
    keys.append(key_of(tmp_path / "run", [], digits, f"{module}:make"))
    code.write_text(code.read_text() + "# changed\n")
    keys.append(key_of(tmp_path / "run", [], digits, f"{module}:make"))
    assert keys[0] == keys[1] != keys[2]


# Transfer.


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Four classes: a bright quarter of a dark image."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("val", 10)):
        for place in range(4):
            folder = tmp_path / "quarters" / split / f"quarter{place}"
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(0, 100, (32, 32, 3), dtype=np.uint8)
                top, left = 16 * (place // 2), 16 * (place % 2)
                pixels[top : top + 16, left : left + 16] += 120
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "quarters"


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["fairnas", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, captured.out, captured.err

    return run


SMALL = [
    *("--set", "deploy.resolution=32", "--set", "retrain.epochs=1", "--set", "retrain.batch_size=32"),
    *("--set", "retrain.augment.level=flip"),
]


def test_transfer_renews_the_classifier_and_takes_over_the_rest(
    digits: Dataset, images: Path, command: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    folder = tmp_path / "source" / "retrain" / "it"
    train(NETWORK, digits, folder)
    arguments = ["transfer", "--weights", str(folder), "--data", str(images), "--run", str(tmp_path / "run")]
    # So small a rate that what was taken over stays what it was.
    code, answer, log = command(*arguments, *SMALL, "--set", "retrain.lr=1e-12", "--set", "retrain.weight_decay=0")
    assert code == 0, log
    assert answer.startswith("quarters-it  top-1 ")
    assert answer.count("\n") == 1
    there = tmp_path / "run" / "retrain" / "quarters-it"
    result = json.loads((there / "result.json").read_text())
    assert (result["architecture"], result["init"], result["epochs"]) == (NETWORK, "weights", 1)
    before, after = load_file(folder / "weights.safetensors"), load_file(there / "weights.safetensors")
    assert after["classifier.weight"].shape[0] == 4
    for name in before.keys() - CLASSIFIER:
        if "running_" not in name and "num_batches" not in name:
            torch.testing.assert_close(after[name], before[name], msg=name)
    # The same command has nothing to do; its network may be named, but not another one.
    code, again, log = command(*arguments, *SMALL, "--set", "retrain.lr=1e-12", "--set", "retrain.weight_decay=0")
    assert (code, again) == (0, answer)
    assert "cached" in log
    code, _, log = command(*arguments, "fairnas_c")
    assert code == 2
    assert "are the weights of timm:test_efficientnet, not of fairnas_c" in log.splitlines()[-1]


def test_weights_beside_no_result_need_their_networks_name(tmp_path: Path) -> None:
    save_file(build_any_network(parse_any_network(NETWORK), num_classes=10).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="whose weights are"):
        find_trained(None, tmp_path / "w.safetensors")
    found = find_trained({"mine": parse_any_network(NETWORK)}, tmp_path / "w.safetensors")
    assert (found.name, found.width) == ("mine", None)
    assert load_config("transfer", found.settings).retrain.weights == str(tmp_path / "w.safetensors")


def test_the_width_of_a_retrained_network_is_known(tmp_path: Path) -> None:
    save_file({}, tmp_path / "weights.safetensors")
    result = {"name": "pick-1", "architecture": "b:" + "-".join(["E3K3"] * 19), "width": 0.5}
    (tmp_path / "result.json").write_text(json.dumps(result))
    found = find_trained(None, tmp_path)
    assert found == find_trained(None, tmp_path / "weights.safetensors")
    config = load_config("transfer", found.settings)
    assert (found.name, config.deploy.width, config.retrain.init) == ("pick-1", 0.5, "weights")
    (tmp_path / "result.json").write_text("{}")
    with pytest.raises(UserError, match="is damaged"):
        find_trained(None, tmp_path)


def test_no_weights_to_transfer(command: Callable[..., tuple[int, str, str]]) -> None:
    code, _, log = command("transfer", "fairnas_a", "--weights", "nowhere.safetensors", "--data", "digits")
    assert code == 2
    assert "no weights nowhere.safetensors" in log.splitlines()[-1]
