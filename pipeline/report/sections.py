"""What each section of the page says, as plain data for the template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...exporters.pages.formatting import count, number, percent
from ...exporters.passport.page import STATUS
from . import figures
from .latency import compare, entries, formats, leading, prediction
from .limits import in_words, kept
from .pareto import pareto
from .parts import Details, Export, Fairness, FormatRow, Headline, Latency, Pick, Search, Training
from .run_files import QUANTITIES, RunFiles, as_dict, as_list
from .style import NetworkStyle

NAMES = {
    "accuracy": "accuracy",
    "latency_ms": "latency",
    "latency_upper_ms": "the upper end of the latency's interval",
    "latency_int8_ms": "int8 latency",
    "madds": "multiply-adds",
    "params": "parameters",
}
"""What a quantity is called in a sentence."""

DEMONSTRATION = "digits"
"""The embedded data set: real images, but no evidence about anyone's own."""

MAX_FRONT_ROWS = 60


def headline(run: RunFiles) -> Headline:
    """The run in a few facts; a target and preset that the configuration does not name come from the folder's name."""
    folder_target, _, folder_preset = run.folder.resolve().name.partition("-")
    found = exports(run)
    accurate = [
        (top1, f"{e.name}, {row.record.get('format')}")
        for e in found
        for row in e.formats
        if row.state == "written" and (top1 := number(row.accuracy.get("exported_top1"))) is not None
    ]
    fast = [(float(e.predicted["latency_ms"]), e.name) for e in found if e.predicted]
    judged = [item.kept for item in (found or picks(run)) if item.kept is not None]
    seconds = [s for _, stage in details(run).stages if (s := number(stage.get("seconds"))) is not None]
    dataset = _dataset(run)
    best, fastest = max(accurate, default=(None, "")), min(fast, default=(None, ""))
    return Headline(
        target=_target(run) or folder_target,
        preset=_name(run.config.get("preset")) or folder_preset,
        dataset=dataset,
        demonstration=as_dict(run.config.get("data")).get("source") == DEMONSTRATION,
        fitted="fitted" in (run.validation.get("kind"), run.table.get("kind"))
        or any(e.predicted and e.predicted.get("table_kind") == "fitted" for e in found),
        extrapolated=any(p.extrapolated for p in picks(run))
        or any(bool(e.predicted and e.predicted.get("extrapolated")) for e in found),
        distrust=_distrust(run),
        best_top1=best[0],
        best_name=best[1],
        fastest_ms=fastest[0],
        fastest_name=fastest[1],
        kept=sum(each.kept for each in judged),
        judged=len(judged),
        how_kept=in_words(judged),
        seconds=sum(seconds) if seconds else None,
    )


def picks(run: RunFiles) -> list[Pick]:
    """The picks as the search saw them: accuracy with inherited weights, on held-out training images."""
    extrapolated = {s.architecture for s in run.scored if s.extrapolated}
    rows: list[Pick] = []
    for pick in run.picks:
        values = {quantity: number(pick.get(quantity)) for quantity in QUANTITIES}
        architecture = str(pick.get("architecture", ""))
        rows.append(
            Pick(
                pick["name"],
                architecture,
                values,
                kept(run, pick, values),
                architecture in extrapolated,
                interval(pick.get("latency_low_ms"), pick.get("latency_high_ms")),
                number(pick.get("measured_ms")),
                interval(pick.get("latency_int8_low_ms"), pick.get("latency_int8_high_ms")),
                number(pick.get("measured_int8_ms")),
            )
        )
    return rows


def measured_on(run: RunFiles) -> str:
    """The device that measured the picks; nothing where none did."""
    return _name(as_dict(run.measured.get("device")).get("name"))


def dropped(run: RunFiles) -> list[tuple[str, float | None, float | None, str]]:
    """Architectures that the search picked and the device refused.

    Each with the measured and allowed latency in ms, and ` in int8` where only that was too long.
    """
    rows: list[tuple[str, float | None, float | None, str]] = []
    for name in (str(each) for each in as_list(run.measured.get("dropped"))):
        measured, limit = _timed(run.measured, name)
        in_int8, int8_limit = _timed(as_dict(run.measured.get("int8")), name)
        fits = measured is None or limit is None or measured <= limit
        if fits and in_int8 is not None and int8_limit is not None and in_int8 > int8_limit:
            rows.append((name, in_int8, int8_limit, " in int8"))
        else:
            rows.append((name, measured, limit, ""))
    return rows


def _timed(record: Mapping[str, Any], architecture: str) -> tuple[float | None, float | None]:
    """What was measured of a network, and what was allowed, in ms."""
    timing = as_dict(as_dict(record.get("timings")).get(architecture))
    return number(timing.get("latency_ms")), number(record.get("limit_ms"))


def interval(low: Any, high: Any) -> tuple[float, float] | None:
    """Both ends of an interval in ms, where both are numbers."""
    ends = number(low), number(high)
    return (ends[0], ends[1]) if ends[0] is not None and ends[1] is not None else None


def _distrust(run: RunFiles) -> str:
    """Why the table should not be believed, in words; nothing where it passed its gate."""
    state = _name(run.validation.get("state"))
    return f"{state}: {_name(run.validation.get('figure'))}" if state in ("unvalidated", "failed") else ""


def exports(run: RunFiles) -> list[Export]:
    """The exported networks, picks first."""
    measured_picks = {pick["name"]: pick for pick in run.picks if number(pick.get("measured_ms")) is not None}
    rows: list[Export] = []
    for name in run.networks:
        if (passport := run.passports.get(name)) is None:
            continue
        predicted = prediction(passport, _target(run))
        shown = leading(passport)
        values = {
            "latency_ms": number(predicted["latency_ms"]) if predicted else None,
            "madds": number(passport.get("madds")),
            "params": number(passport.get("params")),
        }
        rows.append(
            Export(
                name,
                passport,
                [_format_row(record) for record in formats(passport)],
                _name(shown.get("format")),
                as_dict(shown.get("accuracy")),
                predicted,
                interval(predicted.get("low_ms"), predicted.get("high_ms")) if predicted else None,
                entries(shown, "measured"),
                kept(run, measured_picks.get(name) or _as_row(predicted), values),
            )
        )
    return rows


def _as_row(predicted: dict[str, Any] | None) -> dict[str, Any]:
    """A passport's prediction in the form of a pick."""
    found = predicted or {}
    return {"latency_low_ms": found.get("low_ms"), "latency_high_ms": found.get("high_ms")}


def _format_row(record: dict[str, Any]) -> FormatRow:
    colour, state, _ = STATUS.get(_name(record.get("status")), ("amber", "unknown", ""))
    files = [file for file in as_list(record.get("files")) if isinstance(file, dict)]
    return FormatRow(record, colour, state, as_dict(record.get("accuracy")), as_dict(record.get("parity")), files)


def pareto_plots(run: RunFiles, styles: Mapping[str, NetworkStyle]) -> list[figures.Plot]:
    """One plot of accuracy over each cost that was an objective."""
    costs = [quantity for quantity in run.objectives if quantity != "accuracy"] or ["latency_ms"]
    return [
        pareto(run, cost, styles)
        for cost in costs
        if any(s.values["accuracy"] is not None and s.values[cost] is not None for s in run.scored)
    ]


def latency(run: RunFiles, styles: Mapping[str, NetworkStyle]) -> Latency:
    """Predictions beside measurements; those of one device where there are any, since only they can be equal."""
    found = [c for e in exports(run) if (c := compare(e.name, e.passport, _target(run))) is not None]
    same = [c for c in found if c.same_device]
    comparisons = same or found
    # The table carries the validation that it was made with; the run's own file comes later and counts.
    validation = as_dict(run.table.get("validation")) | run.validation
    kind = _name(validation.get("kind")) or _name(run.table.get("kind"))
    # A fitted table is checked on the blocks it was fitted to, a measured one on whole networks.
    checked = "Whole networks measured" if kind == "measured" else "Blocks measured"
    blocks = as_dict(run.table.get("blocks"))
    facts = [
        ("Table", _name(validation.get("table")) or _name(run.table.get("name"))),
        ("Kind", kind),
        ("Blocks measured", count(len(blocks)) if blocks else ""),
        (checked, count(validation["n"]) if number(validation.get("n")) is not None else ""),
        ("State", ": ".join(filter(None, (_name(validation.get("state")), _name(validation.get("figure")))))),
        ("Mean error on networks it has not seen", _error(validation.get("mape"))),
        ("Within 5% / within 10%", _shares(validation)),
        ("Rank correlation / of measuring again", _ranks(validation)),
        ("Sum of blocks against whole networks", _error(validation.get("bias_before"))),
        ("Leave-one-out error", _error(validation.get("loo_mape"))),
        ("Leave-one-shape-out error", _error(validation.get("grouped_mape"))),
        ("Runtime", _name(run.table.get("runtime"))),
        ("Precision", _name(run.table.get("precision"))),
        ("Source", _name(run.table.get("source"))),
    ]
    return Latency(
        comparisons,
        figures.latency(comparisons, styles) if comparisons else None,
        [(label, value) for label, value in facts if value],
        as_dict(run.table.get("device")),
    )


def training(run: RunFiles, styles: Mapping[str, NetworkStyle]) -> Training:
    """Loss and accuracy of the supernet, then the accuracy of the retrained networks."""
    loss = figures.supernet_loss(run.supernet_metrics)
    ordered = {name: run.retrain_metrics[name] for name in run.networks if name in run.retrain_metrics}
    return Training(
        loss,
        figures.retraining(ordered, styles),
        run.oneshot,
    )


def fairness(run: RunFiles) -> Fairness | None:
    """The ledger, judged by its counts; None without a full one."""
    counts = [[number(value) for value in as_list(layer)] for layer in as_list(run.fairness.get("counts"))]
    whole = [[value for value in layer if value is not None] for layer in counts]
    choices = len(as_list(run.fairness.get("choices"))) or (len(whole[0]) if whole else 0)
    if not whole or not choices or any(len(layer) != choices for layer in whole):
        return None
    every = [value for layer in whole for value in layer]
    equal = min(every) == max(every)
    return Fairness(
        blocks=len(every),
        layers=len(whole),
        choices=choices,
        least=min(every),
        most=max(every),
        equal=equal,
        always_equal=equal and run.fairness.get("equal_after_every_step") is True,
        plot=figures.fairness(run.fairness, whole),
    )


def search(run: RunFiles) -> Search:
    """Satisfiability, the hypervolume's course, and the front in numbers."""
    values = [value for v in as_list(run.history.get("hypervolume")) if (value := number(v)) is not None]
    generations = [s.generation for s in run.scored if s.generation is not None]
    cost = next((quantity for quantity in run.objectives if quantity != "accuracy"), "latency_ms")
    front = sorted((s for s in run.scored if s.on_front), key=lambda s: s.values[cost] or 0.0)
    return Search(
        satisfiability=[row for row in as_list(run.history.get("satisfiability")) if isinstance(row, dict)],
        plot=figures.hypervolume(values) if values else None,
        front=front[:MAX_FRONT_ROWS],
        front_size=len(front),
        scored=len(run.scored),
        generations=len(set(generations)) or None,
    )


def details(run: RunFiles) -> Details:
    """Stages, machine and versions from the manifest, and the lineage of each exported file."""
    finished = as_dict(run.manifest.get("stages"))
    # The page is written before its own stage ends.
    stages = [(str(name), as_dict(stage)) for name, stage in finished.items() if name != "report"]
    table = as_dict(run.table.get("device"))
    return Details(
        stages=stages,
        facts=[(label, value) for label, value in (("Commit", _name(run.manifest.get("commit"))),) if value],
        versions=_pairs(run.manifest.get("versions")),
        machine=_pairs(run.manifest.get("machine")) or _pairs(table),
        lineage=[(e.name, as_dict(e.passport.get("lineage"))) for e in exports(run)],
    )


def _target(run: RunFiles) -> str:
    return _name(run.config.get("target"))


def _dataset(run: RunFiles) -> str:
    """The data set's name, from a passport where there is one, else from the configuration."""
    lineages = [as_dict(passport.get("lineage")) for passport in run.passports.values()]
    named = [_name(lineage.get("dataset")) for lineage in lineages]
    return (
        next((name for name in named if name), "") or _name(run.config.get("data")) or _name(run.config.get("dataset"))
    )


def _name(value: Any) -> str:
    """A name that may be given plainly or inside a mapping, such as `data: {source: digits}`."""
    if isinstance(value, dict):
        return next((_name(value[key]) for key in ("name", "source", "dataset") if value.get(key)), "")
    return "" if value is None else str(value)


def _shares(validation: Mapping[str, Any]) -> str:
    shares = number(validation.get("within_5")), number(validation.get("within_10"))
    return " / ".join(percent(share, 0) for share in shares) if None not in shares else ""


def _ranks(validation: Mapping[str, Any]) -> str:
    ranks = number(validation.get("spearman")), number(validation.get("remeasure_spearman"))
    return " / ".join(f"{rank:.3f}" for rank in ranks if rank is not None)


def _error(value: Any) -> str:
    return percent(value) if number(value) is not None else ""


def _pairs(value: Any) -> list[tuple[str, str]]:
    return [(str(key), _plain(item)) for key, item in as_dict(value).items() if item not in (None, "", [], {})]


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return ", ".join(_plain(item) for item in value) if isinstance(value, list) else str(value)
