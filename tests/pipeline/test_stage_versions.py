"""A stage whose sources change says so by its version, or old results would be taken for those of the new code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fairnas.pipeline.runs.stage_names import STAGES

from . import stage_sources
from .stage_sources import LOCK, current, digest, sources, stages, version, version_place


@pytest.mark.parametrize("stage", stages())
def test_a_stage_whose_sources_changed_has_a_new_version(stage: str) -> None:
    lock = json.loads(LOCK.read_text())
    changed = sorted(name for name in sources(stage) if lock["sources"].get(name) != digest(name))
    if changed and lock["versions"].get(stage) == version(stage):
        module, constant = version_place(stage)
        pytest.fail(
            f"stage {stage} is still version {version(stage)}, but its sources changed: {', '.join(changed)}. "
            f"If it can make anything else of the same inputs, raise {constant} in {module}, or finished runs keep "
            "results of the old code. Then, or if it cannot: make stage-versions, and commit the file it writes.",
            pytrace=False,
        )


def test_the_committed_file_is_up_to_date() -> None:
    if json.loads(LOCK.read_text()) != current():
        pytest.fail(f"{LOCK.name} is out of date: make stage-versions, and commit it", pytrace=False)


def test_every_stage_says_what_decides_its_result() -> None:
    assert set(stages()) == set(STAGES)
    # Where their versions have always stood: raised elsewhere, old results would be taken for new ones.
    assert {stage: version_place(stage)[0] for stage in stages()} == {
        "supernet": "pipeline/supernet/train.py",
        "oneshot": "pipeline/supernet/scoring.py",
        "latency": "pipeline/stages/latency.py",
        "similarity": "pipeline/supernet/similarity.py",
        "search": "pipeline/search/search.py",
        "picks": "pipeline/latency/picks.py",
        "retrain": "pipeline/retrain/train.py",
        "export": "pipeline/export/export.py",
        "rank": "pipeline/ranking/certificate.py",
        "report": "pipeline/stages/report.py",
    }


@pytest.mark.parametrize(
    ("made", "complaint"),
    [
        ("from .a import b\nDECIDED_BY = (b,)\nStage('x', b.VERSION)\nStage('y', VERSION)\n", "2 versions"),
        ("from .a import b\nDECIDED_BY = (b,)\nStage('x', VERSION)\n", "toy.py has no VERSION"),
        ("VERSION = 1\nStage('x', VERSION)\n", "toy.py makes a stage, and does not say in DECIDED_BY"),
        ("VERSION = 1\nDECIDED_BY = ()\nStage('x', VERSION)\n", "toy.py makes a stage, and does not say in DECIDED_BY"),
    ],
)
def test_a_stage_without_one_version_or_without_sources_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str, complaint: str
) -> None:
    monkeypatch.setattr(stage_sources, "ROOT", tmp_path)
    (tmp_path / "pipeline/stages").mkdir(parents=True)
    (tmp_path / "pipeline/stages/a.py").write_text("")
    (tmp_path / "pipeline/stages/toy.py").write_text(made)
    assert stages() == ["toy"]
    with pytest.raises(LookupError, match=complaint):
        current()


def test_sources_are_what_a_stage_reaches() -> None:
    assert {
        "pipeline/supernet/train.py",
        "pipeline/supernet/step.py",
        "pipeline/data/decode.py",
        "models/supernet.py",
        "models/spaces/mobile/b.yaml",
    } <= sources("supernet")
    assert "models/spaces/mobile/aligned_init.py" not in sources(
        "export"
    )  # re-exported beside what it uses, and not used
    assert "latency_tables/devices/host.py" in sources("export")
    search = {"pipeline/supernet/scoring.py", "pipeline/search/algorithms/nsga2.py", "latency_tables/predictor.py"}
    assert search <= sources("search")
    assert {"latency_tables/profiler.py", "latency_tables/block_models.py"} <= sources("latency")
    assert {"latency_tables/devices/adb.py", "latency_tables/devices/browser/page/page.js"} <= sources("latency")
    assert {"latency_tables/measuring.py", "latency_tables/calibration.py"} <= sources("picks")
    assert {"pipeline/report/template.html", "pipeline/report/style.css"} <= sources("report")
    assert not sources("report") & sources("supernet")


def test_only_what_a_module_means_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_sources, "ROOT", tmp_path)

    def digest_of(text: str) -> str:
        (tmp_path / "module.py").write_text(text)
        return digest("module.py")

    plain = digest_of("def f(x):\n    return x + 1\n")
    assert digest_of('"""What."""\n\n\ndef f( x ):\n    """Why."""\n    # Because.\n    return (x + 1)\n') == plain
    assert digest_of("def f(x):\n    return x + 2\n") != plain
    assert digest_of("def f(y):\n    return y + 1\n") != plain
