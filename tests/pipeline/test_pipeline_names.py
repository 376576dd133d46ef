"""What the pipeline makes of names, tables and manifests that came from elsewhere."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fairnas.common.errors import FairnasError
from fairnas.latency_tables import load_table
from fairnas.pipeline.check_settings import load_config
from fairnas.pipeline.errors import UserError
from fairnas.pipeline.retrain.transfer import find_trained
from fairnas.pipeline.runs.run import Workspace
from fairnas.pipeline.stages.context import Context
from fairnas.pipeline.stages.export import _lineage
from fairnas.pipeline.stages.latency import write_table
from fairnas.pipeline.stages.networks import transferred_name
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("dataset", "network", "name"),
    [
        ("cifar10", "fairnas_a", "cifar10-fairnas_a"),
        ("my photos", "pick-1", "my photos-pick-1"),  # as it was called before
        ("a:b", "fairnas_a", "a-b-fairnas_a"),
        ("pick-n-place", "fairnas_a", "pick-n-place-fairnas_a"),
        ("-x", "fairnas_a", "x-fairnas_a"),
        (".hidden", "fairnas_a", "hidden-fairnas_a"),
        ("--", "fairnas_a", f"{hashlib.sha256(b'--').hexdigest()[:8]}-fairnas_a"),  # never as the network alone
        ("x" * 200, "fairnas_a", f"{hashlib.sha256(b'x' * 200).hexdigest()[:8]}-fairnas_a"),
        ("x" * 118, "fairnas_a", hashlib.sha256(b"x" * 118 + b"-fairnas_a").hexdigest()[:8]),
    ],
)
def test_a_transferred_network_is_called_after_its_images(dataset: str, network: str, name: str) -> None:
    assert transferred_name(dataset, network) == name


def test_a_transferred_network_is_never_called_as_a_pick() -> None:
    with pytest.raises(UserError, match="would be taken for a pick"):
        transferred_name("pick", "1")


@pytest.mark.parametrize(
    "change",
    [
        *({"name": name} for name in ("../../../../victim", "a/b", "", None, 3, ["x"], "x" * 500)),
        *({"width": width} for width in ("1", None, -1, 0, True, [])),
        {"architecture": "nonsense"},
        {"architecture": None},
    ],
)
def test_weights_with_a_hostile_description_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    sound = {"name": "fairnas_a", "architecture": "fairnas_a", "width": 1.0}
    (tmp_path / "weights.safetensors").touch()
    (tmp_path / "result.json").write_text(json.dumps(sound))
    assert find_trained(None, tmp_path).name == "fairnas_a"
    (tmp_path / "result.json").write_text(json.dumps(sound | change))
    with pytest.raises(FairnasError, match=r"result\.json is damaged"):
        find_trained(None, tmp_path)


def test_a_description_behind_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_text("{}")
    (tmp_path / "weights.safetensors").touch()
    (tmp_path / "result.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(FairnasError, match="is a link"):
        find_trained(None, tmp_path)


@pytest.mark.parametrize("claim", [{"state": "validated"}, {"figure": "100% within 10%"}, {"table": "another"}])
def test_a_table_cannot_say_what_we_make_of_its_check(tmp_path: Path, claim: dict[str, str]) -> None:
    table = load_table("pixel1")
    assert table.validation is not None
    write_table(table, Workspace(tmp_path))
    honest = json.loads((tmp_path / "validation.json").read_text())
    assert honest["state"] == "fitted"
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(table.validation).model_validate({**table.validation.model_dump(exclude_none=True), **claim})


def test_the_lineage_says_who_trained_and_who_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = {"commit": "of training", "versions": {"torch": "1"}, "machine": {"processor": "theirs", "threads": 8}}
    stages = {"supernet": {"key": "s", **elsewhere}, "retrain/x": {"key": "r"}}  # earlier versions did not say
    monkeypatch.setattr("fairnas.pipeline.stages.export.commit", lambda: "of export")
    images = SimpleNamespace(name="d", digest="d", full_train=(), heldout=(), val=())
    own = SimpleNamespace(run=SimpleNamespace(manifest={"stages": stages}), dataset=images, config=load_config("tiny"))
    lineage = _lineage(cast(Context, own), "retrain/x", {})
    assert lineage["commit"] == "of export"
    assert lineage["made"] == {
        "supernet": {"commit": "of training", "versions": {"torch": "1"}, "machine": {"processor": "theirs"}},
        "retrain/x": {},
    }
    assert lineage["stages"] == {"supernet": "s", "retrain/x": "r"}
