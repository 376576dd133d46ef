"""The story of a run: from images to deployable networks, one stage after the other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeGuard, cast

import torch

from ..common.errors import FairnasError
from ..common.exhaustion import raise_if_exhausted
from ..common.files import sha256_file, sha256_json, write_atomic, write_json
from ..common.names import UnsafeNameError, safe_name
from ..common.places import expanded
from ..common.reading import read_object
from ..common.text import shown
from ..exporters.litert.quiet import output_as_remarks
from ..exporters.passport.checksums import fingerprint
from ..latency_tables import (
    Device,
    DeviceOptions,
    LatencyError,
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
    unsteady,
)
from ..latency_tables.runtimes.names import about_networks, runtime_warning
from ..latency_tables.table import Precision
from ..models import (
    AnyNetwork,
    AnySupernet,
    Architecture,
    Block,
    SearchSpace,
    Supernet,
    TimmModel,
    UserModel,
    code_of,
    get_space,
    network_digest,
)
from . import distributed as ranks
from .config import Config
from .console import announce, console, sample_bar
from .data import Dataset, load_dataset
from .errors import UserError
from .export import export
from .export.latency import predicted_latency
from .export.subject import Weights, built_network, open_subject, refuse_other_normalisation
from .latency import picks as check_picks
from .latency.earlier import earlier_tables, tables_of_runs
from .ranking import TRUTH_PREFIX, certificate
from .ranking.sample import choose, random_pool
from .ranking.truth import Truth, read_truth, truth_of_trained
from .report import write_report
from .retrain import train as retrain
from .retrain.transfer import Trained
from .runs.figures import figures_of
from .runs.picks_file import folder_name, is_pick, read_picks
from .runs.provenance import commit, machine
from .runs.run import Run, Stage, Workspace, versions
from .search import search as search
from .search.constraints import limits_of
from .search.costs import space_costs
from .search.distributed_scoring import FollowingScorer, RankedScorer
from .search.problem import Problem
from .search.scoring import SharedScorer, ThreadedScorer
from .supernet import scoring as evaluate
from .supernet import similarity
from .supernet import train as train_supernet
from .training.distillation import open_teacher, teacher_source
from .training.weights import stated_resolution
from .user_modules import check_survivable

LATENCY_VERSION = 4
REPORT_VERSION = 3
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
        self.proxy_space = config.proxy_space
        run.settings = config.to_yaml()

    @cached_property
    def deploy_space(self) -> SearchSpace:
        """The space at the width that is deployed.

        Raises:
            UserError: it is a benchmark's, whose networks are not deployed.
        """
        try:
            return get_space(self.config.space).scaled(self.config.deploy.width)
        except ValueError as error:
            raise UserError(str(error)) from None

    def everything(self) -> None:
        """All stages."""
        refuse_other_normalisation(self.config)
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
                    "train_images": config.data.train_images,
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
                {
                    "seed": config.seed,
                    "proxy": config.proxy.model_dump(),
                    "scoring": config.scoring.model_dump(exclude={"memory_gib"}),
                },
                {"supernet": self.run.digest("supernet", "weights.safetensors")},
                evaluate.OUTPUTS,
                lambda work: evaluate.score_random_paths(self._supernet, self.dataset, config, work),
            )
        )
        self._compare_blocks()

    def _compare_blocks(self) -> None:
        """Measure how alike the choice blocks of each layer have become."""
        seed, count, paths = self.config.seed, self.config.rank.similarity_images, self.config.rank.similarity_paths

        def work(workspace: Workspace) -> None:
            similarity.compare_blocks(
                self._supernet, self.dataset.heldout, count, self.config.proxy.resolution, paths, seed, workspace
            )

        self.run.execute(
            Stage(
                "similarity",
                similarity.VERSION,
                {"seed": seed, "proxy": self.config.proxy.model_dump(), "images": count, "paths": paths},
                {
                    "supernet": self.run.digest("supernet", "weights.safetensors"),
                    "dataset": self.dataset.digest,
                },
                similarity.OUTPUTS,
                work,
            )
        )

    def latency(self, named: Mapping[str, AnyNetwork] | None = None) -> None:
        """Measure the target's blocks, or take its table: those of the space, or of each named network of ours."""
        if named is None:
            blocks = self.deploy_space.all_blocks(self.config.deploy.resolution, len(self.dataset.classes))
            self.run.execute(self._latency_stage("latency", blocks))
            return
        for name, architecture in ours(named).items():
            blocks = self._blocks(architecture)
            self.run.execute(self._latency_stage(f"latency/{name}", blocks, architecture))

    def search(self) -> None:
        """Search the supernet, and forget what was made of earlier picks.

        A bad table and limits that cannot be met are refused before the supernet is trained.
        """
        config = self.config
        self.latency()
        predictor = self._predictor("latency")
        _announce(
            require_trust(predictor.table, config.latency.allow_unvalidated, self.target.how_to_measure),
            predictor.table,
        )
        int8 = self._int8_predictor() if "latency_int8_ms" in config.search.quantities else None
        size = config.deploy.resolution, len(self.dataset.classes)
        costs = space_costs(self.deploy_space, predictor, *size, int8)
        satisfiability = search.check_constraints(config.search, self.deploy_space, costs)
        self.supernet()
        inputs = {
            "supernet": self.run.digest("supernet", "weights.safetensors"),
            "latency": self.run.digest("latency", "table.json"),
        }
        if int8 is not None:
            inputs["latency_int8"] = self.run.digest("latency/int8", "table.json")

        def work(workspace: Workspace) -> None:
            limits = limits_of(config.search.parsed_constraints, satisfiability)
            scorer = self._shared_scorer()
            problem = Problem(config.search, config.seed, self.deploy_space, costs, limits, scorer)
            search.search(problem, satisfiability, workspace, study=f"fairnas-{config.space}-{own.key[:12]}")

        own = Stage(
            "search",
            search.VERSION,
            {
                "seed": config.seed,
                "proxy": config.proxy.model_dump(),
                "deploy": config.deploy.model_dump(),
                "scoring": config.scoring.model_dump(exclude={"random_paths", "memory_gib"}),
                "search": config.search.model_dump(exclude={"workers", "chunk"}),
            },
            inputs,
            search.OUTPUTS,
            work,
        )
        self.run.execute(own)
        self._check_picks()
        picks = {name: str(architecture) for name, architecture in self.picks().items()}
        for stage in self.run.stages():
            kind, _, name = stage.partition("/")
            made_of = self.run.manifest["stages"].get(stage, {}).get("config", {}).get("architecture")
            stale = name not in picks or (made_of is not None and made_of != picks[name])
            if kind in ("retrain", "export") and is_pick(name) and stale:
                self.run.discard(stage)

    def _int8_predictor(self) -> Predictor:
        """The latency of quantised networks, from a given table or measured."""
        blocks = self.deploy_space.all_blocks(self.config.deploy.resolution, len(self.dataset.classes))
        self.run.execute(self._latency_stage("latency/int8", blocks, precision="int8"))
        predictor = self._predictor("latency/int8")
        _announce(
            require_trust(predictor.table, self.config.latency.allow_unvalidated, self.target.how_to_measure),
            predictor.table,
        )
        return predictor

    def _shared_scorer(self) -> SharedScorer:
        """Threads that score, on all ranks where torchrun started several."""
        scorer = _threaded_scorer(self._supernet, self.dataset, self.config)
        if not ranks.are_several():
            return scorer
        weights = (self.run.folder / "supernet" / "weights.safetensors").read_bytes()
        return RankedScorer(scorer, weights, self.dataset.digest)

    def _check_picks(self) -> None:
        """Measure the search's picks where the target's device is there."""
        rounds = self._rounds
        read_picks(self.run.folder / "search" / "picks.json", self.config.space, ())  # refuses what are no picks
        limits = self._limits_found()

        def tightest(*quantities: str) -> check_picks.Limit | None:
            named = sorted((limits[name], name) for name in quantities if name in limits)
            if not named:
                return None
            ms, name = named[0]
            return check_picks.Limit(ms, f"{name}<=median" in self.config.search.constraints, name)

        # A limit on the upper end of the interval is one on what is measured, too.
        limit, int8_limit = tightest("latency_ms", "latency_upper_ms"), tightest("latency_int8_ms")
        in_int8 = "latency_int8_ms" in self.config.search.quantities

        def work(workspace: Workspace) -> None:
            check_picks.check_picks(
                self.run.folder / "search",
                limit,
                LatencyTable.load(self.run.folder / "latency" / "table.json"),
                self._blocks,
                self.device,
                rounds,
                workspace,
                check_picks.Checked(self._predictor("latency/int8").table, int8_limit) if in_int8 else None,
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
                    **({"latency_int8": self.run.digest("latency/int8", "table.json")} if in_int8 else {}),
                },
                check_picks.OUTPUTS,
                work,
            )
        )

    def _limits_found(self) -> dict[str, float]:
        """The limits that the search kept, in numbers."""
        path = self.run.folder / "search" / "history.json"
        try:
            texts = read_object(path)["constraints"]
            return {name: float(limit) for name, limit in (re.split("<=|>=", text) for text in texts)}
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path} is damaged: search again with --force search") from None

    def picks(self) -> dict[str, Architecture]:
        """The final picks by name."""
        rows = read_picks(self.run.folder / "picks" / "picks.json", self.config.space)
        return {row["name"]: Architecture.parse(row["architecture"]) for row in rows}

    def check_trainable(self, networks: Mapping[str, AnyNetwork]) -> None:
        """Refuse networks whose weights the supernet cannot give, when they are asked of it.

        Raises:
            UserError: `retrain.init` is `inherited` and a network is of another space or has squeeze-and-excitation.
        """
        if self.config.retrain.init == "inherited":
            for name, source in networks.items():
                known = isinstance(source, Architecture) and source.space == self.config.space and not source.se_ratio
                if not known:
                    raise UserError(f"the supernet has no weights for {name}: add --set retrain.init=scratch")

    def rank(self, table: Path | None = None, column: str | None = None) -> None:
        """Certify the supernet's ranking against a table of true accuracies, or against networks trained stand-alone.

        Raises:
            UserError: the table cannot be read, or there is none and the space's networks cannot be trained.
        """
        config, settings, space = self.config, self.config.rank, self.proxy_space
        truth = read_truth(table, column, space) if table else None
        if truth is None and not isinstance(space, SearchSpace):
            raise UserError(
                f"networks of space {space.name} are not trained here: add --truth FILE, the benchmark's table"
            )
        candidates = list(truth.accuracies) if truth else random_pool(space, settings.seed)
        chosen = choose(
            candidates,
            (settings.architectures or len(truth.accuracies)) if truth else settings.networks,
            settings.spacing,
            settings.spaced_by,
            space,
            config.proxy.resolution,
            len(self.dataset.classes),
            settings.seed,
            truth.accuracies if truth else None,
        )
        self.supernet()
        truth = truth or self._train_truth(chosen)
        trained = read_object(self.run.folder / "supernet" / "fairness.json")
        facts = {key: trained[key] for key in ("sampling", "steps", "backward_passes") if key in trained}
        self.run.execute(
            Stage(
                "rank",
                certificate.VERSION,
                {
                    "proxy": config.proxy.model_dump(),
                    "scoring": config.scoring.model_dump(exclude={"random_paths", "memory_gib"}),
                    "rank": settings.model_dump(exclude={"similarity_images", "similarity_paths"}),
                },
                {
                    "supernet": self.run.digest("supernet", "weights.safetensors"),
                    "dataset": self.dataset.digest,
                    "truth": truth.digest,
                },
                certificate.OUTPUTS,
                lambda work: certificate.write_certificate(
                    self._supernet,
                    chosen,
                    len(candidates),
                    truth,
                    facts | {"seed": config.seed},
                    self.dataset,
                    config,
                    work,
                ),
            )
        )

    def _train_truth(self, architectures: Sequence[Architecture]) -> Truth:
        """Train networks stand-alone, each a stage; from random weights: the supernet's own would flatter it."""
        scratch = self.config.retrain.model_copy(update={"init": "scratch"})
        networks = {f"{TRUTH_PREFIX}{_short_digest(a)}": a for a in architectures}
        self.retrain(networks, self.config.model_copy(update={"retrain": scratch}))
        results = [figures_of(self.run.folder / "retrain" / name / "result.json", "val_top1") for name in networks]
        return truth_of_trained(results, scratch.batch_size, len(self.dataset.val))

    def retrain(self, networks: Mapping[str, AnyNetwork], config: Config | None = None) -> None:
        """Train networks stand-alone, with the run's configuration or another."""
        config = config or self.config
        if not networks:
            return
        inherited = config.retrain.init == "inherited"
        inputs = {"dataset": self.dataset.digest}
        if inherited:
            inputs["supernet"] = self.run.digest("supernet", "weights.safetensors")
        # Files count by what they hold, not by where they lie.
        elsewhere = {"checkpoint_seconds": True, "weights": True, "distillation": {"weights"}}
        given = {"weights": config.retrain.weights, "teacher": config.retrain.distillation.weights}
        files = {name: Path(path) for name, path in given.items() if path is not None}
        teacher = teacher_source(config.retrain.distillation)
        for name, source in networks.items():
            code = {"code": code_of(source), "teacher_code": code_of(teacher) if teacher is not None else None}
            read = files | {of: path for of, path in code.items() if path is not None}
            begun = retrain.digest_at_start(source, config, len(self.dataset.classes))
            self.run.execute(
                Stage(
                    f"retrain/{name}",
                    retrain.VERSION,
                    {
                        "seed": config.seed,
                        "architecture": str(source),
                        "deploy": config.deploy.model_dump(),
                        "retrain": config.retrain.model_dump(exclude=elsewhere),
                    },
                    inputs | {of: sha256_file(path) for of, path in read.items()} | begun,
                    retrain.OUTPUTS,
                    lambda work, name=name, source=source: retrain.retrain(
                        name, source, config, self.dataset, work, self._mobile_supernet if inherited else None
                    ),
                )
            )

    def transfer(self, trained: Trained) -> str:
        """Train a network on these classes from weights of others, which the configuration names.

        Returns:
            What it is called here: its stage is none of a network that was trained on its own images.
        """
        name = transferred_name(self.dataset.name, trained.name)
        self.retrain({name: trained.source})
        return name

    def with_hard_swish(self, networks: Mapping[str, AnyNetwork]) -> dict[str, AnyNetwork]:
        """Fine-tune trained networks with hard-Swish in the place of Swish.

        Returns:
            The fine-tuned ones under names that end in `_hswish`, and those that have no Swish as they are.
        """
        replaced = hard_swish_networks(networks)
        settings = self.config.hard_swish
        for (name, source), (new_name, new) in zip(networks.items(), replaced.items(), strict=True):
            if new == source:
                continue
            recipe = self.config.retrain.model_copy(
                update={
                    "init": "weights",
                    "weights": str(self.run.folder / "retrain" / name / "weights.safetensors"),
                    "epochs": settings.epochs,
                    "first_epochs": 0,
                    "first_resolution": None,
                    "lr": self.config.retrain.lr * settings.lr_factor,
                    "warmup_epochs": min(1, settings.epochs - 1),
                    "validate_epochs": 1,
                }
            )
            self.retrain({new_name: new}, self.config.model_copy(update={"retrain": recipe}))
        return replaced

    def export(
        self, networks: Mapping[str, AnyNetwork], latency_of_each: bool = False, weights: Path | None = None
    ) -> None:
        """Export networks in the formats that the configuration, or else the target, names.

        Args:
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
                    self._export(name, source, table_stage, weights)
            except FairnasError as error:  # which keeps none of the others
                raise_if_exhausted(error)
                refused[name] = str(error).removeprefix(f"{name}: ")
        if refused:
            raise export.NetworksRefused(refused)

    def _export(self, name: str, source: AnyNetwork, table_stage: str, given: Path | None) -> None:
        config, kind = self.config, self._kind_of_weights(name, source, given)
        formats = config.export.formats or list(self.target.formats)
        weights = given or (self.run.folder / "retrain" / name / "weights.safetensors" if kind == "trained" else None)
        if kind == "random":
            console.print(
                f"[yellow]{shown(name)}: random weights: its accuracy means nothing; give its own with --weights[/]"
            )
        inputs = {"dataset": self.dataset.digest}
        if weights is not None:
            inputs["weights"] = sha256_file(weights)
        if (code := code_of(source)) is not None:
            inputs["code"] = sha256_file(code)
        if isinstance(source, UserModel):
            try:
                built = built_network(source, weights, config, len(self.dataset.classes) if kind == "trained" else None)
            except ValueError as error:
                raise UserError(str(error)) from None
            inputs["network"] = network_digest(source, built)
        if config.export.sign_with is not None:
            inputs["signer"] = fingerprint(expanded(config.export.sign_with))
        if isinstance(source, Architecture):
            inputs["latency"] = self.run.digest(table_stage, "table.json")

        def work(workspace: Workspace) -> tuple[str, ...]:
            subject = open_subject(name, source, weights, kind, config, self.dataset)
            prediction = None
            if isinstance(source, Architecture):
                blocks = self._blocks(source, len(subject.deployable.classes))
                try:
                    prediction = predicted_latency(self.target, self._predictor(table_stage), blocks)
                except LatencyError as error:  # given weights may be of other classes than the table's last block
                    console.print(f"[yellow]        no latency is predicted: {shown(error)}[/]")
            lineage = self._lineage(f"retrain/{name}", inputs)
            return export.export(subject, formats, config, self.target, prediction, self.device, lineage, workspace)

        self.run.execute(
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
                inputs | {"device": self._device_digest()},
                export.OUTPUTS,
                work,
            )
        )

    def _kind_of_weights(self, name: str, source: AnyNetwork, given: Path | None) -> Weights:
        if given is not None:
            return "given"
        trained = self.run.manifest["stages"].get(f"retrain/{name}")
        if trained is not None:
            self._check_trained_here(name, source, trained.get("inputs", {}))
            return "trained"
        return "given" if isinstance(source, UserModel) else "random"  # a user's module may load what it likes

    def _check_trained_here(self, name: str, source: AnyNetwork, inputs: Mapping[str, str]) -> None:
        """Ours were just trained, or found to be; others are taken as they are, which may be of long ago."""
        if inputs.get("dataset") != self.dataset.digest:
            raise UserError(f"{name} was trained on other images here: train it on these, or name another --run")
        if (code := code_of(source)) is not None and inputs.get("code") not in (None, sha256_file(code)):
            raise UserError(f"{code} changed since {name} was trained: train it again, or give its --weights")

    def _lineage(self, retrained: str, inputs: Mapping[str, str]) -> dict[str, Any]:
        """From the images to what is exported: digests, the keys of the stages on the way, versions and machine."""
        stages = self.run.manifest["stages"]
        on_the_way = [stage for stage in ("latency", "supernet", "search", "picks", retrained) if stage in stages]
        return {
            "dataset": self.dataset.name,
            "dataset_digest": self.dataset.digest,
            "images": {part: len(getattr(self.dataset, part)) for part in ("full_train", "heldout", "val")},
            "stages": {stage: stages[stage]["key"] for stage in on_the_way},
            # Each may have been made elsewhere, and by another version, than the export.
            "made": {stage: _maker(stages[stage]) for stage in on_the_way},
            "config_digest": sha256_json(self.config.model_dump(mode="json")),
            "commit": commit(),
            "versions": versions(),
            "machine": _without_threads(machine()),
            **{f"{name}_digest": digest for name, digest in inputs.items() if name != "dataset"},
        }

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

    def _blocks(self, architecture: Architecture, num_classes: int | None = None) -> tuple[Block, ...]:
        space = get_space(architecture.space).scaled(self.config.deploy.width)
        return space.blocks(architecture, self.config.deploy.resolution, num_classes or len(self.dataset.classes))

    def _latency_stage(
        self,
        name: str,
        blocks: Sequence[Block],
        architecture: Architecture | None = None,
        precision: Precision = PRECISION,
    ) -> Stage:
        """A stage that leaves `table.json` and `validation.json`, and raw samples where it measures.

        Args:
            name: the stage's name.
            blocks: what the table must price.
            architecture: the only network that it is for; None for the whole space.
            precision: of the models whose latency it is.

        Raises:
            LatencyError: the target's table cannot price one of the blocks.
        """
        settings = self.config.latency
        if precision == PRECISION:
            source = settings.table or (self.target.table if self.device is None else None)
        else:
            source = settings.int8_table
        if source is not None or self.device is None:
            return self._given_table_stage(name, source, blocks, precision)
        device = self.device
        plan = Plan(self._rounds, precision, settings.calibration_networks, settings.validation_networks)
        size = self.config.deploy.resolution, len(self.dataset.classes)

        def work(workspace: Workspace) -> None:
            places = {"folder": workspace.folder, "bars": sample_bar}
            places["earlier"] = earlier_tables(*tables_of_runs(self.run.folder.parent))
            if architecture is None:
                table = profile_space(device, self.deploy_space, *size, plan, **places)
                # Before the stage is finished: the same command then measures again.
                if (trouble := unsteady(table)) and not settings.allow_unvalidated:
                    raise LatencyError(f"not validated: {trouble}; or accept the table with --allow-unvalidated")
            else:
                origin = get_space(architecture.space).scaled(self.config.deploy.width)
                table = profile_network(device, origin, architecture, *size, plan, **places)
            _write_table(table, workspace)

        return Stage(
            name,
            LATENCY_VERSION,
            {
                "target": self.target.name,
                "latency": settings.model_dump(exclude={"allow_unvalidated", "table", "int8_table"}),
                "blocks": _digest(blocks),
            },
            {"device": self._device_digest()},
            ("table.json", "validation.json"),
            work,
            settles=False,
        )

    def _given_table_stage(self, name: str, source: str | None, blocks: Sequence[Block], precision: Precision) -> Stage:
        """A stage that takes a table that is there already."""
        key = "table" if precision == PRECISION else f"{precision}_table"
        if source is None:
            raise UserError(
                f"target {self.target.name} has no device and no {precision} table: add --set latency.{key}=PATH"
            )
        table = load_table(source)
        if table.precision != precision:
            raise UserError(
                f"latency table {table.name} is of {table.precision} models, and latency.{key} must be of {precision} "
                f"ones: measure the device with `fairnas profile --precision {precision}`"
            )
        Predictor(table).check_covers(blocks)
        return Stage(
            name,
            LATENCY_VERSION,
            {"target": self.target.name, "blocks": _digest(blocks)},
            {"table": table.digest()},
            ("table.json", "validation.json"),
            lambda work: _write_table(table, work),
            settles=False,
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

    @property
    def _mobile_supernet(self) -> Supernet:
        """The supernet of a space whose networks are trained and deployed."""
        return cast(Supernet, self._supernet)

    @cached_property
    def _supernet(self) -> AnySupernet:
        weights = (self.run.folder / "supernet" / "weights.safetensors").read_bytes()
        return train_supernet.load_supernet(weights, self.proxy_space, len(self.dataset.classes))


def network_names(networks: Sequence[tuple[str, AnyNetwork]]) -> dict[str, AnyNetwork]:
    """Folder names for networks given by name or text: names stay, texts of architectures become a digest."""
    return {_network_name(text, source): source for text, source in networks}


def ours(networks: Mapping[str, AnyNetwork]) -> dict[str, Architecture]:
    """Those whose blocks are known: they can be priced by a table, and are trained before they are exported."""
    return {name: source for name, source in networks.items() if isinstance(source, Architecture)}


def hard_swish_networks(networks: Mapping[str, AnyNetwork]) -> dict[str, AnyNetwork]:
    """Networks with hard-Swish in the place of Swish, under names that say so; those without Swish as they are.

    Raises:
        UserError: another of the networks is called so.
    """
    replaced: dict[str, AnyNetwork] = {}
    for name, source in networks.items():
        new = f"{name}_hswish" if _has_swish(source) else name
        if new in replaced or (new != name and new in networks):
            raise UserError(f"{name} with hard-Swish is called {new}, as another of these networks: export one of them")
        replaced[new] = source.with_hard_swish() if _has_swish(source) else source
    return replaced


def _has_swish(source: AnyNetwork) -> TypeGuard[Architecture]:
    return isinstance(source, Architecture) and source.se_ratio > 0 and not source.hard_swish


def transferred_name(dataset: str, network: str) -> str:
    """What a network is called that was trained on with other images.

    Raises:
        UserError: it would be called as one of the search's picks.
    """
    name = f"{dataset}-{network}"
    try:
        safe_name(name, "a network")
    except UnsafeNameError:  # a folder of images may be called as no network can be
        name = folder_name(f"{folder_name(dataset)}-{network}")
    if is_pick(name):
        raise UserError(f"{name} would be taken for a pick of the search: rename the folder of images {dataset}")
    return name


def _network_name(text: str, source: AnyNetwork) -> str:
    if isinstance(source, TimmModel):
        return folder_name(source.name)
    if isinstance(source, UserModel):
        return folder_name(f"{source.module}-{source.attribute}")
    return text if ":" not in text else f"network-{_short_digest(source)}"


def _short_digest(source: AnyNetwork) -> str:
    return hashlib.sha256(str(source).encode()).hexdigest()[:8]


def follow(config: Config) -> None:
    """What torchrun's ranks other than the first do: score and train what that one sends them."""
    console.quiet = True
    try:
        dataset = open_dataset(config)
        space = config.proxy_space

        def build(weights: bytes) -> SharedScorer:
            supernet = train_supernet.load_supernet(weights, space, len(dataset.classes))
            return _threaded_scorer(supernet, dataset, config)

        scorer = FollowingScorer(build, space.architecture, dataset.digest)
        answers = {
            ranks.Message.SUPERNET: scorer.take_supernet,
            ranks.Message.SCORE: scorer.score,
            ranks.Message.TRAIN: lambda content: retrain.retrain_along(content, dataset),
        }
        ranks.follow(answers)
    finally:
        console.quiet = False


def _threaded_scorer(supernet: AnySupernet, dataset: Dataset, config: Config) -> ThreadedScorer:
    return ThreadedScorer(lambda: evaluate.PathScorer(supernet, dataset, config), config.search.workers)


def open_dataset(config: Config) -> Dataset:
    """Check and load the images before anything is written."""
    dataset = load_dataset(
        config.data.source, heldout=config.data.heldout, seed=config.seed, train_images=config.data.train_images
    )
    sizes = f"{len(dataset.train):,} to train, {len(dataset.heldout):,} held out, {len(dataset.val):,} to validate"
    console.print(f"images   {shown(dataset.name)}: {len(dataset.classes)} classes, {sizes}")
    if dataset.demonstration:
        console.print("[yellow]         a demonstration set: bring your own images with --data FOLDER[/]")
    for note in dataset.notes:
        console.print(f"[yellow]         {shown(note)}[/]", soft_wrap=True)
    return dataset


def _other_resolution(source: AnyNetwork, given: Path | None) -> dict[str, int]:
    """What given weights of timm's models say of their resolution, which then takes the place of timm's own."""
    stated = stated_resolution(given) if given is not None and isinstance(source, TimmModel) else None
    return {} if stated is None else {"resolution": stated}


def check_teacher(config: Config, dataset: Dataset) -> None:
    """Make the teacher of a distillation once, before anything is trained: its code and weights are somebody's.

    Raises:
        UserError: see `open_teacher`; or making it ends the process.
    """
    settings = config.retrain
    source = teacher_source(settings.distillation)
    if source is None:
        return
    check_survivable(source)
    sizes = {settings.resolution_at(epoch, config.deploy.resolution) for epoch in (0, settings.epochs - 1)}
    open_teacher(settings.distillation, len(dataset.classes), sorted(sizes), torch.device("cpu"))


def _announce(verdict: Verdict, table: LatencyTable) -> None:
    """Say how far the table can be trusted, louder where it is less."""
    colour = {"validated": "green", "fitted": "yellow"}.get(verdict.state, "red")
    console.print(f"[{colour}]table    {shown(table.name)}, {verdict.state}: {shown(verdict.figure)}[/]")
    if table.kind == "fitted":
        console.print(f"[{colour}]         not measured here: {shown(table.source.partition(';')[0])}[/]")
    for line in about_networks(table), runtime_warning(table, "onnx"):
        if line:
            console.print(f"[{colour}]         {shown(line)}[/]", soft_wrap=True)


def _digest(blocks: Sequence[Block]) -> str:
    return sha256_json(sorted({block.signature for block in blocks}))


def _maker(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Which commit and versions, on which machine, made a stage's results; earlier manifests do not say."""
    known = {name: entry[name] for name in ("commit", "versions", "machine") if name in entry}
    return known | {"machine": _without_threads(known["machine"])} if "machine" in known else known


def _without_threads(described: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in described.items() if key != "threads"}


def _write_table(table: LatencyTable, workspace: Workspace) -> None:
    write_atomic(workspace.folder / "table.json", table.to_json())
    verdict = judge(table)
    checked = table.validation.model_dump(exclude_none=True) if table.validation else {}
    summary = {"table": table.name, "kind": table.kind, "source": table.source}
    judged = summary | {"state": verdict.state, "figure": verdict.figure}
    # A table may say more of its validation than we know, but not what we make of it.
    more = {name: value for name, value in checked.items() if name not in judged}
    write_json(workspace.folder / "validation.json", judged | more)
