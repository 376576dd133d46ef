"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TargetOption = Annotated[str | None, typer.Option("--target", help="Where to deploy: see `fairnas targets`.")]
PresetOption = Annotated[
    str, typer.Option("--preset", help="quickstart, cifar10, imagenet, imagenet-se, ... or the path of a YAML file.")
]
OwnPresetOption = Annotated[
    str | None, typer.Option("--preset", help="As of `fairnas pipeline`. Default: quickstart.", show_default=False)
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", help="A folder with train/CLASS/* and val/CLASS/*, or cifar10, cifar100, imagenet, digits."),
]
RunOption = Annotated[Path | None, typer.Option("--run", help="Run folder. Default: runs/TARGET-PRESET.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override, e.g. --set supernet.epochs=3. Repeatable."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")]
ForceOption = Annotated[
    str | None,
    typer.Option(
        "--force", metavar="STAGE", help="Run it again, and what is made from it; or one alone, as retrain/pick-2."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON on standard output.")]
SerialOption = Annotated[str | None, typer.Option(help="Of the phone, where several are attached: see adb devices.")]
HostOption = Annotated[str | None, typer.Option(help="Of the board: user@address, or a name known to ssh.")]
ThreadsOption = Annotated[int, typer.Option(help="Threads that a network runs on; this machine's CPU uses 1.", min=1)]
CpusOption = Annotated[str | None, typer.Option(help="Cores of phones and boards: big, little, or such as 4-7.")]
AarOption = Annotated[Path | None, typer.Option("--ort-aar", help="ONNX Runtime for Android to use instead of ours.")]
AllowOption = Annotated[
    bool, typer.Option("--allow-unvalidated", help="Search also with a table that failed its check, or had none.")
]
NetworksArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[NETWORK]...", help="fairnas_a, fairnas_b_se, ... or an architecture such as b:E3K7-..."),
]
