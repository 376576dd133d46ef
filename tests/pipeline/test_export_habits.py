"""Networks of others, each with one habit of real code: written with the right answers, or withheld with the reason."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fairnas.models import main_output, multiply_adds, network_digest, parse_any_network
from fairnas.models.foreign import UserModel, build_any_network, classifier_of
from fairnas.pipeline.cli import app as cli
from fairnas.pipeline.cli.answers import WITHHELD
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.training.weights import load_weights, weights_content
from torch import Tensor, nn

Command = Callable[..., tuple[int, str, str]]

NETWORKS = """
import torch
from torch import nn
from torch.nn import functional as F

class Plain(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(16, classes)
    def forward(self, x):
        return self.fc(self.features(x).mean((2, 3)))
    def features(self, x):
        return self.stem(x)

class Shuffled(Plain):
    def features(self, x):
        f = self.stem(x)
        b, c, h, w = f.shape
        return f.view(b, 4, c // 4, h, w).transpose(1, 2).reshape(b, c, h, w)

class Branching(Plain):
    def features(self, x):
        f = self.stem(x)
        return -f if x.mean() > 0.6 else f

class Uneven(Plain):
    def forward(self, x):
        return self.fc(F.adaptive_avg_pool2d(self.stem(x), 3).mean((2, 3)))

class Noisy(Plain):
    def features(self, x):
        return F.dropout(self.stem(x), 0.5, training=True)

def diverged():
    network = Plain()
    network.stem[0].weight.data[0, 0, 0, 0] = float("nan")
    return network

def zero():
    network = Plain()
    nn.init.zeros_(network.fc.weight)
    nn.init.zeros_(network.fc.bias)
    return network

def scripted():
    return torch.jit.script(nn.Sequential(nn.Conv2d(3, 10, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()))

def regressor():
    return Plain(1)

def without_parameters():
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
"""


@pytest.fixture
def fairnas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """The command beside the module `habits`; exit code, standard output and the rest."""
    (tmp_path / "habits.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "habits", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*arguments: str) -> tuple[int, str, str]:
        small = ("export.parity_images=32", "export.latency_rounds=3", "export.int8.methods=[minmax]")
        images = ("export.int8.calibration_images=16", "export.int8.selection_images=32")
        given = [f"--set={each}" for each in (*small, *images)]
        monkeypatch.setattr(
            sys, "argv", ["fairnas", *arguments, "--preset", "tiny", "--target", "pixel", "--run", "run", *given]
        )
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capfd.readouterr()
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, said.out, " ".join(said.err.split())

    return run


def records(name: str) -> dict[str, dict[str, Any]]:
    passport = json.loads(Path("run/export", name, "passport.json").read_text())
    return {record["format"]: record for record in passport["formats"]}


@pytest.mark.parametrize("network", ["Shuffled", "scripted", "zero", "without_parameters"])
def test_habits_that_are_exported(network: str, fairnas: Command) -> None:
    code, _, said = fairnas("export", f"habits:{network}", "--format", "onnx,onnx-int8")
    found = records(f"habits-{network}")
    assert found["onnx"]["status"] == "written", said
    if network == "without_parameters":
        assert code == WITHHELD
        assert found["onnx-int8"]["reason"].startswith("nothing of it is in 8 bits")
        return
    assert code == 0, said
    assert found["onnx-int8"]["status"] == "written"
    assert "of 359 images" in found["onnx-int8"]["facts"]["judged_by"]


def test_a_single_number_is_judged_by_its_value(fairnas: Command) -> None:
    fairnas("export", "habits:regressor", "--format", "onnx,onnx-int8")
    found = records("habits-regressor")
    assert found["onnx"]["status"] == "written"
    told = found["onnx-int8"]["reason"] or found["onnx-int8"]["facts"]["judged_by"]
    assert "of its variance over 32 images (limit 1.00%; it is judged by value" in told


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ("diverged", "1 of 432 numbers of its tensor 'stem.0.weight' are NaN"),
        ("Noisy", "its answers are random"),
        ("Branching", "one at a time, also brighter and darker"),
    ],
)
def test_habits_that_are_refused_with_the_reason(network: str, words: str, fairnas: Command) -> None:
    code, _, said = fairnas("export", f"habits:{network}", "--format", "onnx,onnx-int8")
    assert code == 2
    assert words in said
    assert "Traceback" not in said
    if network == "Branching":
        assert "x.mean() > 0.6" in said
        assert "float32 file that it is made from is wrong" in records("habits-Branching")["onnx-int8"]["reason"]


def test_answers_in_json_are_all_of_standard_output(fairnas: Command) -> None:
    code, printed, said = fairnas("export", "habits:Uneven", "habits:Plain", "--format", "onnx", "--json")
    assert code == 2
    assert "habits-Uneven: onnx: cannot become ONNX" in said
    answer = json.loads(printed)
    assert [passport["name"] for passport in answer["exported"]] == ["habits-Plain"]
    assert "cannot become ONNX" in answer["refused"]["habits-Uneven"]


def test_a_network_counts_by_what_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    source = UserModel("made_here", "make")

    def digest(helper: str, weight: float) -> str:
        for name in ("made_here", "helps_here"):
            sys.modules.pop(name, None)
        Path("helps_here.py").write_text(helper)
        Path("weight.txt").write_text(str(weight))
        Path("made_here.py").write_text(
            "import helps_here\nfrom pathlib import Path\n"
            "def make():\n    return helps_here.net(float(Path('weight.txt').read_text()))\n"
        )
        # Bytecode is known by time and size, which here are the same.
        for cached in Path("__pycache__").glob("*"):
            cached.unlink()
        return network_digest(source, build_any_network(source))

    first = "import torch\ndef net(w):\n    n = torch.nn.Linear(1, 1)\n    n.requires_grad_(False).weight[:] = w\n"
    helper = f"{first}    n.bias[:] = 0\n    return n\n"
    assert digest(helper, 1.0) == digest(helper, 1.0)
    assert digest(helper, 1.0) != digest(helper, 2.0)
    assert digest(helper, 1.0) != digest(f"{helper}# another function\n", 1.0)


def test_a_tensor_of_two_names_is_saved_once_and_found_again(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 2)
            self.classifier = self.fc
            self.norm = nn.BatchNorm1d(2)

    network, other = Tied(), Tied()
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights_content(network))
    assert path.stat().st_size < 1000
    load_weights(other, path)
    assert torch.equal(other.classifier.weight, network.fc.weight)
    assert other.classifier.weight is other.fc.weight
    setattr(network, "caf\udce9", nn.Parameter(torch.zeros(1)))
    with pytest.raises(UserError, match="cannot be saved"):
        weights_content(network)


def test_counts_of_batches_need_not_be_in_a_file(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    norm = nn.BatchNorm2d(2)
    save_file({k: v for k, v in norm.state_dict().items() if k != "num_batches_tracked"}, tmp_path / "w.safetensors")
    load_weights(norm, tmp_path / "w.safetensors")


def test_the_main_output_is_trained() -> None:
    logits, second = torch.zeros(2, 3), torch.ones(2, 3)
    assert main_output(logits) is logits
    assert main_output((logits, second)) is logits
    assert main_output({"aux": second, "logits": logits}) is logits
    with pytest.raises(ValueError, match="holds no logits"):
        main_output(None)


def test_attention_and_recurrent_layers_are_counted() -> None:
    class Attends(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            tokens = images.flatten(2).transpose(1, 2)  # [1, 16, 3]
            return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)

    class Recurs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 5, batch_first=True, bidirectional=True)

        def forward(self, images: Tensor) -> Tensor:
            return self.lstm(images.flatten(2).transpose(1, 2))[0]

    assert multiply_adds(Attends().eval(), 4) == 2 * 16 * 16 * 3
    assert multiply_adds(Recurs().eval(), 4) == 2 * 16 * (4 * 5 * 3 + 4 * 5 * 5)


def test_a_view_of_a_parameter_may_be_given_to_a_module() -> None:
    """As pooling transformers (PiT) hand their class token from stage to stage."""

    class Hands(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token, self.head = nn.Parameter(torch.zeros(1, 3)), nn.Linear(3, 5)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.token.expand(len(images), -1)) + images.mean()

    network = Hands().eval()
    assert multiply_adds(network, 4) == 3 * 5
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_what_cannot_be_counted_is_said_in_one_line() -> None:
    class Fails(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise AssertionError("not\nhere")

    with pytest.raises(ValueError, match=r"^its multiply-adds cannot be counted: not here$"):
        multiply_adds(Fails(), 4)


def test_arguments_behind_stars_and_classifiers_that_are_convolutions() -> None:
    network = build_any_network(parse_any_network("torchvision.models:squeezenet1_1"), num_classes=7)
    assert classifier_of(network) == "classifier.1"
    assert network.get_submodule("classifier.1").out_channels == 7
