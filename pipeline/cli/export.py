"""Commands of networks that leave: exporting and verifying them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ...common.reading import check_regular_file
from ...exporters.formats import in_short
from ..errors import UserError
from .answers import WITHHELD, print_exports, print_table
from .opened import DEFAULT_PRESET, export_overrides, opened, parse_networks, prepare, require_run
from .options import (
    DataOption,
    ForceOption,
    JsonOption,
    NetworksArgument,
    OwnPresetOption,
    RunOption,
    SeedOption,
    SetOption,
    TargetOption,
)


def export(
    networks: NetworksArgument = None,
    formats: Annotated[
        str | None,
        typer.Option("--format", help=f"{in_short()}; several: commas."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A .safetensors of the network, which then is not trained here.")
    ] = None,
    hard_swish: Annotated[
        bool, typer.Option("--hard-swish", help="Put hard-Swish in the place of Swish and fine-tune: 8 bits suit it.")
    ] = False,
    write_anyway: Annotated[
        bool, typer.Option("--write-anyway", help="Also write formats that fail their check; the passport says so.")
    ] = False,
    sustained: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Run every ONNX file that long: what heat leaves.")
    ] = None,
    sign_with: Annotated[Path | None, typer.Option(metavar="KEY", help="Sign the checksums with this ssh key.")] = None,
    target: TargetOption = None,
    preset: OwnPresetOption = None,
    data: DataOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    force: ForceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export networks (the picks, or the ones named) in any format, each compared with PyTorch, with a passport.

    fairnas export fairnas_c --format onnx,onnx-int8,litert --data images

    fairnas export mobilenetv3_large_100 --weights mine.safetensors --format onnx-int8 --data images

    fairnas export my_package.my_module:make_network --format onnx

    Ours are trained first, unless --weights are given. Others are exported as they are.

    The exit code is 3 where a format that was asked for is withheld.
    """
    given = [*(overrides or []), *export_overrides(formats, write_anyway, sustained, sign_with)]
    if weights is None:
        require_run(run, preset, data, overrides)
    named = parse_networks(networks)
    if weights is not None and (named is None or len(named) != 1 or hard_swish):
        raise UserError("--weights are of one network: name it, and without --hard-swish, which needs training")
    if weights is not None:
        check_regular_file(weights)
    with opened(target, preset or DEFAULT_PRESET, data, run, given, seed, force, named) as work:
        from ..export.candidate import NetworksRefused
        from ..export.subject import refuse_other_normalisation
        from ..stages.networks import hard_swish_networks, ours
        from ..training.weights import check_weights_file

        if weights is not None:
            check_weights_file(weights)
        if named is not None and weights is None:
            work.check_trainable(ours(named))
        if named is not None:
            # First: a table that cannot price a network is known before it is trained.
            work.latency(hard_swish_networks(named) if hard_swish else named)
        if named is not None and weights is not None:
            chosen = named
        else:
            chosen = prepare(work, named)
            if trained_here := ours(chosen):
                refuse_other_normalisation(work.config)
                work.retrain(trained_here)
            chosen = work.with_hard_swish(chosen) if hard_swish else chosen
        try:
            work.export(chosen, latency_of_each=named is not None, weights=weights)
        except NetworksRefused as error:
            if as_json:  # the answers about the others
                print_exports(work, list(chosen), as_json, error.reasons)
            raise
        withheld = print_exports(work, list(chosen), as_json)
    if formats is not None and withheld:
        raise typer.Exit(WITHHELD)


def verify(
    folder: Annotated[Path, typer.Argument(help="An export folder: it holds passport.json and SHA256SUMS.")],
    allowed_signers: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Who may have signed, in ssh-keygen's form; others fail.")
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="Which export it must be, or it fails: the network's NAME, sha256:DIGEST (of its SHA256SUMS or "
            "passport.json), newer-than:DATE (needs --allowed-signers). Repeatable.",
        ),
    ] = None,
    newer_than: Annotated[
        str | None, typer.Option(metavar="DATE", help="Short for --expect newer-than:DATE, such as 2026-12-01.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="The images that it was judged on: measure its accuracy again.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check an exported network from its files: every digest, the passport, the models, the signature."""
    if not folder.is_dir():  # the rest takes seconds to import
        raise UserError(f"no folder {folder}")

    from dataclasses import asdict

    from ...exporters.checks.expectations import parse_expected
    from ...exporters.verify import failed_names
    from ...exporters.verify import verify as verify_folder

    demands = [*(expect or []), *([f"newer-than:{newer_than}"] if newer_than is not None else [])]
    expected = parse_expected(demands) if demands else None

    remeasure = None
    if data is not None:
        from ..data import load_dataset
        from ..export.remeasure import remeasured

        dataset = load_dataset(data, heldout=0.2, seed=0)  # only its validation images are looked at
        remeasure = partial(remeasured, dataset=dataset)
    findings = verify_folder(folder, allowed_signers=allowed_signers, expected=expected, remeasure=remeasure)
    print_table(as_json, [asdict(finding) for finding in findings], ("file", "what", "outcome", "reason"))
    if failed := failed_names(findings):
        raise UserError(f"{folder} does not verify: {failed}")
