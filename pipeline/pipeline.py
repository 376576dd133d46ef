"""The story of a run: from images to deployable networks, one stage after the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property

from ..latency_tables import (
    Device,
    DeviceOptions,
    LatencyTable,
    Plan,
    Predictor,
    Rounds,
    Verdict,
    get_target,
    judge,
    load_table,
    open_device,
    profile_network,
    profile_space,
    require_trust,
)
from ..latency_tables.files import sha256_json, write_atomic, write_json
from ..models import Architecture, Block, Supernet, get_space
from . import check_picks, evaluate, export, retrain, train_supernet
from .config import Config
from .console import announce, console, sample_bar
from .data import Dataset, load_dataset
from .errors import UserError
from .provenance import commit
from .report import write_report
from .runs import Run, Stage, Workspace
from .search import stage as search
from .search.costs import space_costs

STAGES = ("latency", "supernet", "oneshot", "search", "picks", "retrain", "export", "report")
LATENCY_VERSION = 2
REPORT_VERSION = 1
PRECISION = "fp32"  # of exported networks, so latency is that of such models


class Pipeline:
    """The stages of one run. Each method runs a stage, or finds it done, after the stages that it needs.

    Args:
        config: what to do.
        run: the open run folder.
        dataset: the checked images.
    """

    def __init__(self, config: Config, run: Run, dataset: Dataset) -> None:
        self.config, self.run, self.dataset = config, run, dataset
        self.target = get_target(config.target)
        self.proxy_space = get_space(config.space).scaled(config.proxy.width)
        self.deploy_space = get_space(config.space).scaled(config.deploy.width)
        run.write_config(config.to_yaml())

    def everything(self) -> None:
        """All stages."""
        self.search()
        picks = self.picks()
        self.retrain(picks)
        self.export(picks)
        self.report()

    def supernet(self) -> None:
        """Train the supernet and score random paths of it."""
        config = self.config
        self.run.execute(
            Stage(
                "supernet",
                train_supernet.VERSION,
                {
                    "seed": config.seed,
                    "space": config.space,
                    "proxy": config.proxy.model_dump(),
                    "supernet": config.supernet.model_dump(exclude={"checkpoint_seconds"}),
                    "heldout": config.data.heldout,
                },
                {"dataset": self.dataset.digest},
                train_supernet.OUTPUTS,
                lambda work: train_supernet.train_supernet(config, self.proxy_space, self.dataset, work),
            )
        )
        self.run.execute(
            Stage(
                "oneshot",
                evaluate.VERSION,
                {"seed": config.seed, "proxy": config.proxy.model_dump(), "scoring": config.scoring.model_dump()},
                {"supernet": self.run.digest("supernet", "weights.safetensors")},
                evaluate.OUTPUTS,
                lambda work: evaluate.score_random_paths(self._supernet, self.dataset, config, work),
            )
        )

    def latency(self, named: dict[str, Architecture] | None = None) -> None:
        """Measure the target's blocks, or take its table: those of the space, or of each named network."""
        if named is None:
            blocks = self.deploy_space.all_blocks(self.config.deploy.resolution, len(self.dataset.classes))
            self.run.execute(self._latency_stage("latency", blocks))
            return
        for name, architecture in named.items():
            blocks = self._blocks(architecture)
            self.run.execute(self._latency_stage(f"latency/{name}", blocks, architecture))

    def search(self) -> None:
        """Search the supernet, and forget what was made of earlier picks.

        A bad table and limits that cannot be met are refused before the supernet is trained.
        """
        config = self.config
        self.latency()
        predictor = self._predictor("latency")
        _announce(require_trust(predictor.table, config.latency.allow_unvalidated), predictor.table)
        costs = space_costs(self.deploy_space, predictor, config.deploy.resolution, len(self.dataset.classes))
        satisfiability = search.check_constraints(config.search, self.deploy_space, costs)
        self.supernet()

        def work(workspace: Workspace) -> None:
            scorer = evaluate.PathScorer(self._supernet, self.dataset, config)
            search.search(config.search, config.seed, self.deploy_space, costs, satisfiability, scorer.score, workspace)

        self.run.execute(
            Stage(
                "search",
                search.VERSION,
                {
                    "seed": config.seed,
                    "proxy": config.proxy.model_dump(),
                    "deploy": config.deploy.model_dump(),
                    "scoring": config.scoring.model_dump(exclude={"random_paths"}),
                    "search": config.search.model_dump(),
                },
                {
                    "supernet": self.run.digest("supernet", "weights.safetensors"),
                    "latency": self.run.digest("latency", "table.json"),
                },
                search.OUTPUTS,
                work,
            )
        )
        self._check_picks()
        picks = {name: str(architecture) for name, architecture in self.picks().items()}
        for stage in self.run.stages():
            kind, _, name = stage.partition("/")
            made_of = self.run.manifest["stages"].get(stage, {}).get("config", {}).get("architecture")
            stale = name not in picks or (made_of is not None and made_of != picks[name])
            if kind in ("retrain", "export") and name.startswith("pick-") and stale:
                self.run.discard(stage)

    def _check_picks(self) -> None:
        """Measure the search's picks where the target's device is there."""
        rounds = self._rounds
        history = json.loads((self.run.folder / "search" / "history.json").read_text())
        limits = dict(text.split("<=") for text in history["constraints"])
        limit = None
        if "latency_ms" in limits:
            is_relative = "latency_ms<=median" in self.config.search.constraints
            limit = check_picks.Limit(float(limits["latency_ms"]), is_relative)

        def work(workspace: Workspace) -> None:
            check_picks.check_picks(
                self.run.folder / "search",
                limit,
                LatencyTable.load(self.run.folder / "latency" / "table.json"),
                self._blocks,
                self.device,
                rounds,
                workspace,
            )

        self.run.execute(
            Stage(
                "picks",
                check_picks.VERSION,
                {"deploy": self.config.deploy.model_dump(), "rounds": rounds.most},
                {
                    "device": self._device_digest(),
                    "picks": self.run.digest("search", "picks.json"),
                    "front": self.run.digest("search", "pareto.csv"),
                    "latency": self.run.digest("latency", "table.json"),
                },
                check_picks.OUTPUTS,
                work,
            )
        )

    def picks(self) -> dict[str, Architecture]:
        """The final picks by name."""
        rows = json.loads((self.run.folder / "picks" / "picks.json").read_text())
        return {row["name"]: Architecture.parse(row["architecture"]) for row in rows}

    def check_trainable(self, networks: dict[str, Architecture]) -> None:
        """Refuse networks whose weights the supernet cannot give, when they are asked of it.

        Raises:
            UserError: `retrain.init` is `inherited` and a network is of another space or has squeeze-and-excitation.
        """
        if self.config.retrain.init == "inherited":
            for name, architecture in networks.items():
                if architecture.se_ratio or architecture.space != self.config.space:
                    raise UserError(f"the supernet has no weights for {name}: add --set retrain.init=scratch")

    def retrain(self, networks: dict[str, Architecture]) -> None:
        """Train networks stand-alone."""
        config = self.config
        inherited = config.retrain.init == "inherited"
        inputs = {"dataset": self.dataset.digest}
        if inherited:
            inputs["supernet"] = self.run.digest("supernet", "weights.safetensors")
        for name, architecture in networks.items():
            self.run.execute(
                Stage(
                    f"retrain/{name}",
                    retrain.VERSION,
                    {
                        "seed": config.seed,
                        "architecture": str(architecture),
                        "deploy": config.deploy.model_dump(),
                        "retrain": config.retrain.model_dump(exclude={"checkpoint_seconds"}),
                    },
                    inputs,
                    retrain.OUTPUTS,
                    lambda work, name=name, architecture=architecture: retrain.retrain(
                        name, architecture, config, self.dataset, work, self._supernet if inherited else None
                    ),
                )
            )

    def export(self, networks: dict[str, Architecture], latency_of_each: bool = False) -> None:
        """Export trained networks; `latency_of_each` when `latency` was given these networks."""
        config = self.config
        for name, architecture in networks.items():
            table_stage = f"latency/{name}" if latency_of_each else "picks"
            inputs = {
                "weights": self.run.digest(f"retrain/{name}", "weights.safetensors"),
                "latency": self.run.digest(table_stage, "table.json"),
                "dataset": self.dataset.digest,
            }

            def work(
                workspace: Workspace,
                name: str = name,
                architecture: Architecture = architecture,
                table_stage: str = table_stage,
                inputs: dict[str, str] = inputs,
            ) -> None:
                lineage = {
                    "dataset": self.dataset.name,
                    "dataset_digest": self.dataset.digest,
                    "config_digest": sha256_json(config.model_dump(mode="json")),
                    "commit": commit(),
                    "table_digest": inputs["latency"],
                }
                export.export(
                    name,
                    architecture,
                    (self.run.folder / "retrain" / name / "weights.safetensors").read_bytes(),
                    config,
                    self.dataset,
                    self.target,
                    self._predictor(table_stage),
                    self.device,
                    lineage,
                    workspace,
                )

            self.run.execute(
                Stage(
                    f"export/{name}",
                    export.VERSION,
                    {
                        "target": config.target,
                        "architecture": str(architecture),
                        "deploy": config.deploy.model_dump(),
                        "export": config.export.model_dump(),
                    },
                    inputs | {"device": self._device_digest()},
                    export.OUTPUTS,
                    work,
                )
            )

    def report(self) -> None:
        """Write the page that shows the run."""
        done = {name: entry["outputs"] for name, entry in self.run.manifest["stages"].items() if name != "report"}

        def work(_: Workspace) -> None:
            write_report(self.run.folder)

        self.run.execute(
            Stage(
                "report",
                REPORT_VERSION,
                {"config": self.config.model_dump(mode="json")},
                {"stages": sha256_json(done)},
                ("index.html",),
                work,
            )
        )

    def _blocks(self, architecture: Architecture) -> tuple[Block, ...]:
        space = get_space(architecture.space).scaled(self.config.deploy.width)
        return space.blocks(architecture, self.config.deploy.resolution, len(self.dataset.classes))

    def _latency_stage(self, name: str, blocks: Sequence[Block], architecture: Architecture | None = None) -> Stage:
        """A stage that leaves `table.json` and `validation.json`, and raw samples where it measures.

        Args:
            name: the stage's name.
            blocks: what the table must price.
            architecture: the only network that it is for; None for the whole space.

        Raises:
            LatencyError: the target's table cannot price one of the blocks.
        """
        source = self.config.latency.table or (self.target.table if self.device is None else None)
        if source is not None or self.device is None:
            return self._given_table_stage(name, source, blocks)
        device, settings = self.device, self.config.latency
        plan = Plan(self._rounds, PRECISION, settings.calibration_networks, settings.validation_networks)
        size = self.config.deploy.resolution, len(self.dataset.classes)

        def work(workspace: Workspace) -> None:
            places = {"folder": workspace.folder, "bars": sample_bar}
            if architecture is None:
                table = profile_space(device, self.deploy_space, *size, plan, **places)
            else:
                origin = get_space(architecture.space).scaled(self.config.deploy.width)
                table = profile_network(device, origin, architecture, *size, plan, **places)
            _write_table(table, workspace)

        return Stage(
            name,
            LATENCY_VERSION,
            {
                "target": self.target.name,
                "latency": settings.model_dump(exclude={"allow_unvalidated", "table"}),
                "blocks": _digest(blocks),
            },
            {"device": self._device_digest()},
            ("table.json", "validation.json"),
            work,
        )

    def _given_table_stage(self, name: str, source: str | None, blocks: Sequence[Block]) -> Stage:
        """A stage that takes a table that is there already."""
        if source is None:
            raise UserError(f"target {self.target.name} has no device and no table: add --set latency.table=PATH")
        table = load_table(source)
        if table.precision != PRECISION:
            raise UserError(
                f"latency table {table.name} is of {table.precision} models, and networks are exported as {PRECISION}: "
                "measure the device again with `fairnas profile`"
            )
        Predictor(table).check_covers(blocks)
        return Stage(
            name,
            LATENCY_VERSION,
            {"target": self.target.name, "blocks": _digest(blocks)},
            {"table": table.digest()},
            ("table.json", "validation.json"),
            lambda work: _write_table(table, work),
        )

    @cached_property
    def device(self) -> Device | None:
        """The target's device; None where there is none."""
        settings = self.config.latency
        options = DeviceOptions(
            serial=settings.serial,
            host=settings.host,
            threads=settings.threads,
            cpus=settings.cpus,
            announce=announce,
        )
        device = open_device(self.target, options)
        if device is None and self.target.device_kind:
            console.print(f"[yellow]no device of target {self.target.name} is attached: nothing is measured there[/]")
        return device

    @property
    def _rounds(self) -> Rounds:
        most = self.config.latency.rounds
        return Rounds(least=min(20, most), most=most)

    def _device_digest(self) -> str:
        """What must be unchanged for measurements to be reused."""
        if self.device is None:
            return "none"
        if self.device.kind == "browser":  # asking it would need somebody to open the page
            return "browser"
        self.device.prepare()
        return sha256_json(self.device.fingerprint())

    def _predictor(self, stage: str) -> Predictor:
        return Predictor(LatencyTable.load(self.run.folder / stage / "table.json"))

    @cached_property
    def _supernet(self) -> Supernet:
        weights = (self.run.folder / "supernet" / "weights.safetensors").read_bytes()
        return train_supernet.load_supernet(weights, self.proxy_space, len(self.dataset.classes))


def network_names(networks: Sequence[tuple[str, Architecture]]) -> dict[str, Architecture]:
    """Folder names for networks given by name or text: published names stay, others get a digest of their text."""
    return {
        text
        if ":" not in text
        else f"network-{hashlib.sha256(str(architecture).encode()).hexdigest()[:8]}": architecture
        for text, architecture in networks
    }


def open_dataset(config: Config) -> Dataset:
    """Check and load the images before anything is written."""
    dataset = load_dataset(config.data.source, heldout=config.data.heldout, seed=config.seed)
    sizes = f"{len(dataset.train):,} to train, {len(dataset.heldout):,} held out, {len(dataset.val):,} to validate"
    console.print(f"images   {dataset.name}: {len(dataset.classes)} classes, {sizes}")
    if dataset.demonstration:
        console.print("[yellow]         a demonstration set: bring your own images with --data FOLDER[/]")
    return dataset


def _announce(verdict: Verdict, table: LatencyTable) -> None:
    """Say how far the table can be trusted, louder where it is less."""
    colour = {"validated": "green", "fitted": "yellow"}.get(verdict.state, "red")
    console.print(f"[{colour}]table    {table.name}, {verdict.state}: {verdict.figure}[/]")
    if table.kind == "fitted":
        console.print(f"[{colour}]         not measured here: {table.source.partition(';')[0]}[/]")


def _digest(blocks: Sequence[Block]) -> str:
    return sha256_json(sorted({block.signature for block in blocks}))


def _write_table(table: LatencyTable, workspace: Workspace) -> None:
    write_atomic(workspace.folder / "table.json", table.to_json())
    verdict = judge(table)
    checked = table.validation.model_dump(exclude_none=True) if table.validation else {}
    summary = {"table": table.name, "kind": table.kind, "source": table.source}
    write_json(
        workspace.folder / "validation.json", summary | {"state": verdict.state, "figure": verdict.figure} | checked
    )
