"""Stages `export/<name>`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...common.errors import FairnasError
from ...common.exhaustion import raise_if_exhausted
from ...common.files import sha256_file, sha256_json
from ...common.places import expanded
from ...common.text import shown
from ...exporters.litert.quiet import output_as_remarks
from ...exporters.passport.checksums import fingerprint
from ...latency_tables import LatencyError
from ...models import AnyNetwork, Architecture, TimmModel, UserModel, code_of, network_digest
from ..console import console
from ..data import load_dataset
from ..errors import UserError
from ..export import export
from ..export.candidate import NetworksRefused
from ..export.latency import predicted_latency
from ..export.subject import Weights, built_network, open_subject
from ..runs.provenance import commit, machine
from ..runs.run import Stage, Workspace, versions
from ..training.weights import stated_resolution
from .context import Context

DECIDED_BY = (export, load_dataset)


def run(
    context: Context, networks: Mapping[str, AnyNetwork], latency_of_each: bool = False, weights: Path | None = None
) -> None:
    """Export networks in the formats that the configuration, or else the target, names.

    Args:
        context: of the run.
        networks: by name.
        latency_of_each: `latency` was given these networks.
        weights: file of the weights; None takes what `retrain` trained, or random ones of a network that is not
            ours and was not trained here.

    Raises:
        NetworksRefused: some of them can be handed over in no format; the others are there.
    """
    refused: dict[str, str] = {}
    for name, source in networks.items():
        table_stage = f"latency/{name}" if latency_of_each else "picks"
        try:
            with output_as_remarks():  # a user's own network may print what it likes
                _export(context, name, source, table_stage, weights)
        except FairnasError as error:  # which keeps none of the others
            raise_if_exhausted(error)
            refused[name] = str(error).removeprefix(f"{name}: ")
    if refused:
        raise NetworksRefused(refused)


def _export(context: Context, name: str, source: AnyNetwork, table_stage: str, given: Path | None) -> None:
    config, kind = context.config, _kind_of_weights(context, name, source, given)
    formats = config.export.formats or list(context.target.formats)
    weights = given or (context.run.folder / "retrain" / name / "weights.safetensors" if kind == "trained" else None)
    if kind == "random":
        console.print(
            f"[yellow]{shown(name)}: random weights: its accuracy means nothing; give its own with --weights[/]"
        )
    inputs = {"dataset": context.dataset.digest}
    if weights is not None:
        inputs["weights"] = sha256_file(weights)
    if (code := code_of(source)) is not None:
        inputs["code"] = sha256_file(code)
    if isinstance(source, UserModel):
        try:
            built = built_network(source, weights, config, len(context.dataset.classes) if kind == "trained" else None)
        except ValueError as error:
            raise UserError(str(error)) from None
        inputs["network"] = network_digest(source, built)
    if config.export.sign_with is not None:
        inputs["signer"] = fingerprint(expanded(config.export.sign_with))
    if isinstance(source, Architecture):
        inputs["latency"] = context.run.digest(table_stage, "table.json")

    def work(workspace: Workspace) -> tuple[str, ...]:
        subject = open_subject(name, source, weights, kind, config, context.dataset)
        prediction = None
        if isinstance(source, Architecture):
            blocks = context.blocks(source, len(subject.deployable.classes))
            try:
                prediction = predicted_latency(context.target, context.predictor(table_stage), blocks)
            except LatencyError as error:  # given weights may be of other classes than the table's last block
                console.print(f"[yellow]        no latency is predicted: {shown(error)}[/]")
        lineage = _lineage(context, f"retrain/{name}", inputs)
        return export.export(subject, formats, config, context.target, prediction, context.device, lineage, workspace)

    context.run.execute(
        Stage(
            f"export/{name}",
            export.VERSION,
            {
                "target": config.target,
                "architecture": str(source),
                "weights": kind,
                "seed": config.seed,
                "deploy": config.deploy.model_dump(),
                "export": config.export.model_dump() | {"formats": formats},
                **_other_resolution(source, given),
            },
            inputs | {"device": context.device_digest()},
            export.OUTPUTS,
            work,
        )
    )


def _kind_of_weights(context: Context, name: str, source: AnyNetwork, given: Path | None) -> Weights:
    if given is not None:
        return "given"
    trained = context.run.manifest["stages"].get(f"retrain/{name}")
    if trained is not None:
        _check_trained_here(context, name, source, trained.get("inputs", {}))
        return "trained"
    return "given" if isinstance(source, UserModel) else "random"  # a user's module may load what it likes


def _check_trained_here(context: Context, name: str, source: AnyNetwork, inputs: Mapping[str, str]) -> None:
    """Ours were just trained, or found to be; others are taken as they are, which may be of long ago."""
    if inputs.get("dataset") != context.dataset.digest:
        raise UserError(f"{name} was trained on other images here: train it on these, or name another --run")
    if (code := code_of(source)) is not None and inputs.get("code") not in (None, sha256_file(code)):
        raise UserError(f"{code} changed since {name} was trained: train it again, or give its --weights")


def _lineage(context: Context, retrained: str, inputs: Mapping[str, str]) -> dict[str, Any]:
    """From the images to what is exported: digests, the keys of the stages on the way, versions and machine."""
    stages = context.run.manifest["stages"]
    on_the_way = [stage for stage in ("latency", "supernet", "search", "picks", retrained) if stage in stages]
    return {
        "dataset": context.dataset.name,
        "dataset_digest": context.dataset.digest,
        "images": {part: len(getattr(context.dataset, part)) for part in ("full_train", "heldout", "val")},
        "stages": {stage: stages[stage]["key"] for stage in on_the_way},
        # Each may have been made elsewhere, and by another version, than the export.
        "made": {stage: _maker(stages[stage]) for stage in on_the_way},
        "config_digest": sha256_json(context.config.model_dump(mode="json")),
        "commit": commit(),
        "versions": versions(),
        "machine": _without_threads(machine()),
        **{f"{name}_digest": digest for name, digest in inputs.items() if name != "dataset"},
    }


def _other_resolution(source: AnyNetwork, given: Path | None) -> dict[str, int]:
    """What given weights of timm's models say of their resolution, which then takes the place of timm's own."""
    stated = stated_resolution(given) if given is not None and isinstance(source, TimmModel) else None
    return {} if stated is None else {"resolution": stated}


def _maker(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Which commit and versions, on which machine, made a stage's results; earlier manifests do not say."""
    known = {name: entry[name] for name in ("commit", "versions", "machine") if name in entry}
    return known | {"machine": _without_threads(known["machine"])} if "machine" in known else known


def _without_threads(described: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in described.items() if key != "threads"}
