"""What a format's failure becomes: a reason in the passport, unless the machine ran out of something."""

from __future__ import annotations

import errno
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from fairnas.common.exhaustion import Exhausted
from fairnas.exporters import ExportError, memory
from fairnas.exporters.deployable import Exported
from fairnas.exporters.judgement import Judgement
from fairnas.exporters.onnx import export as onnx
from fairnas.exporters.passport.records import ExportedFile, FormatRecord
from fairnas.latency_tables import get_target
from fairnas.models import get_space
from fairnas.pipeline.check_settings import load_config
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.export import export
from fairnas.pipeline.export.candidate import Candidate
from fairnas.pipeline.export.subject import open_subject
from fairnas.pipeline.pipeline import Pipeline
from fairnas.pipeline.runs.run import Workspace


@pytest.fixture
def exporting(tmp_path: Path) -> Any:
    subject = cast(Any, SimpleNamespace(deployable=SimpleNamespace(name="net", input_shape=(1, 3, 32, 32))))
    config = load_config("tiny")
    return export._Export(subject, ["onnx"], config, get_target("pixel"), None, None, Workspace(tmp_path))


def _full_disk(*_: object) -> Any:
    try:
        raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
        raise ExportError("cannot become ONNX") from error


def _of_its_own(*_: object) -> Any:
    raise ExportError("an operator is unknown")


def test_a_full_disk_is_no_reason_of_a_format(exporting: Any) -> None:
    with pytest.raises(Exhausted, match="No space left"):
        exporting._candidate(SimpleNamespace(make=_full_disk), "onnx")
    assert exporting._candidate(SimpleNamespace(make=_of_its_own), "onnx").judgement.reason == "an operator is unknown"


def test_nor_a_lack_of_latency_or_memory(exporting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ExportedFile(path="model.onnx", bytes=0, sha256="0" * 64)
    record = FormatRecord.model_construct(format="onnx", status="written", files=[file])
    for fails in (_full_disk, _of_its_own):
        monkeypatch.setattr(export, "measured_latencies", fails)
        monkeypatch.setattr(memory, "measure_memory", fails)
        for work in (lambda: exporting._measured({"onnx": b""}), lambda: exporting._memory(record)):
            if fails is _of_its_own:
                assert not work()
            else:
                with pytest.raises(Exhausted):
                    work()


@pytest.mark.parametrize(("of_float", "tuned"), [("its answers differ", 0), (None, 1)])
def test_what_is_wrong_in_float_is_not_fine_tuned(exporting: Any, of_float: str | None, tuned: int) -> None:
    calls: list[int] = []
    exporting._float_reasons["onnx"] = of_float
    lossy = Candidate(Exported("onnx-int8", {"model.onnx": b""}, None), Judgement(reason="top-1 falls"))
    exporting._tune(SimpleNamespace(tune=lambda: bool(calls.append(1))), {"onnx-int8": lossy})
    assert len(calls) == tuned


def test_a_full_disk_while_fine_tuning_ends_it(exporting: Any) -> None:
    lossy = Candidate(Exported("onnx-int8", {"model.onnx": b""}, None), Judgement(reason="top-1 falls"))
    with pytest.raises(Exhausted):
        exporting._tune(SimpleNamespace(tune=_full_disk), {"onnx-int8": lossy})


@pytest.mark.parametrize("setting", ["export.mean=[0.5, 0.5, 0.5]", "export.std=[0.5, 0.5, 0.5]"])
def test_what_was_trained_here_has_its_images_normalisation(setting: str) -> None:
    """It would be ignored silently: the network is trained already."""
    config = load_config("tiny", [setting])
    nothing: Any = SimpleNamespace()
    with pytest.raises(UserError, match=r"export\.mean and export\.std are for networks from elsewhere"):
        open_subject("net", get_space("b").uniform("E3K3"), None, "trained", config, nothing)
    with pytest.raises(UserError, match=r"leave both out"):
        Pipeline(config, SimpleNamespace(settings=None), nothing).everything()  # pyright: ignore[reportArgumentType]


def test_a_package_whose_name_begins_like_a_librarys_is_not_the_library() -> None:
    folder = Path(torch.__file__).parent
    message = torch.jit.TracerWarning("Converting a tensor to a Python boolean")
    warned = [
        warnings.WarningMessage(message, torch.jit.TracerWarning, str(path), 1)
        for path in (folder.with_name("torchmetrics") / "theirs.py", folder / "nn" / "ours.py")
    ]
    assert onnx._branches(warned) == ["theirs.py:1 ()"]
