"""Configuration: presets, overrides, and one line for every mistake."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from fairnas.models import PUBLISHED, build_network
from fairnas.pipeline.check_settings import load_config
from fairnas.pipeline.config import PRESETS_FOLDER, Config, list_presets
from fairnas.pipeline.errors import UserError
from pydantic import ValidationError
from torch import nn


def test_presets_are_the_promised_ones() -> None:
    ours = ["cifar10", "cifar10-cpu", "imagenet", "imagenet-se", "imagenette-cpu", "quickstart"]
    ranking = ["ranking-macro", "ranking-macro-cpu", "ranking-nasbench201", "ranking-nasbench201-cpu"]
    assert list_presets() == [*ours, *ranking, "tiny", "transfer"]


@pytest.mark.parametrize("preset", list_presets())
def test_a_preset_loads_and_its_yaml_says_all_of_it(preset: str, tmp_path: Path) -> None:
    config = load_config(preset)
    assert (config.preset, config.target, config.seed) == (preset, "pixel", 0)
    (tmp_path / f"{preset}.yaml").write_text(config.to_yaml())
    assert load_config(str(tmp_path / f"{preset}.yaml")) == config
    # Everything that the file says is in force, and nothing in it went unread.
    written = yaml.safe_load((PRESETS_FOLDER / f"{preset}.yaml").read_text())
    resolved = config.model_dump(mode="json")
    for section, values in written.items():
        assert isinstance(values, dict) or resolved[section] == values
        for key, value in values.items() if isinstance(values, dict) and section != "search" else ():
            if not isinstance(value, dict):
                assert resolved[section][key] == value, (section, key)


def test_the_imagenet_preset_has_the_papers_recipes() -> None:
    config = load_config("imagenet")
    assert (config.proxy.resolution, config.deploy.resolution, config.proxy.width) == (224, 224, 1.0)
    supernet = config.supernet
    assert (supernet.epochs, supernet.batch_size, supernet.lr) == (150, 256, 0.045)
    assert (supernet.momentum, supernet.weight_decay, supernet.shared_gradients) == (0.9, 4e-5, "sum")
    assert (config.search.population, config.search.generations) == (64, 200)
    retrain = config.retrain
    assert (retrain.opt, retrain.lr, retrain.batch_size, retrain.epochs) == ("rmsproptf", 0.016, 256, 350)
    assert (retrain.weight_decay, retrain.label_smoothing, retrain.dropout) == (1e-5, 0.1, 0.2)
    assert (retrain.ema_decay, retrain.warmup_epochs, retrain.init) == (0.9999, 5, "scratch")
    assert retrain.sched_args == {"decay_epochs": 2.4, "decay_rate": 0.97}
    assert retrain.opt_args == {"alpha": 0.9, "eps": 1e-3}
    assert (retrain.momentum, retrain.bn_momentum, retrain.drop_path, retrain.augment.auto) == (0.9, 0.01, 0.0, None)


def test_networks_with_squeeze_and_excitation_are_trained_alike_but_for_two_things() -> None:
    plain, squeezed = load_config("imagenet"), load_config("imagenet-se")
    assert (squeezed.retrain.drop_path, squeezed.retrain.augment.auto) == (0.2, "original")
    changed = {"drop_path": 0.0, "augment": plain.retrain.augment}
    same = squeezed.model_copy(update={"preset": "imagenet", "retrain": squeezed.retrain.model_copy(update=changed)})
    assert same == plain


def test_the_recipe_decays_weights_but_not_batch_norm_and_biases() -> None:
    network = build_network(PUBLISHED["fairnas_a_se"], width=0.25, num_classes=10)
    optimizer = load_config("imagenet-se").retrain.make_optimizer(network)
    assert type(optimizer).__name__ == "RMSpropTF"
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    kinds = {"weight": (nn.Conv2d, nn.Linear)}
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            decayed = isinstance(module, kinds.get(name, ()))
            assert decays.pop(id(parameter)) == (1e-5 if decayed else 0.0), (module, name)
    assert not decays


def test_the_recipes_rate_warms_up_and_falls_in_stairs() -> None:
    """0.016, times 0.97 every 2.4 epochs; warm-up comes first here, where MnasNet's stairs begin under it."""
    retrain, steps = load_config("imagenet").retrain, 10
    optimizer = retrain.make_optimizer(nn.Linear(1, 1))
    scheduler = retrain.make_scheduler(optimizer, steps)

    def rate(epoch: float) -> float:
        scheduler.step_update(round(epoch * steps))
        return optimizer.param_groups[0]["lr"]

    assert rate(0) == pytest.approx(1e-6)
    assert rate(2.5) == pytest.approx(0.008, rel=1e-3)
    for stairs in (0, 1, 2, 143):
        assert rate(5 + 2.4 * stairs) == pytest.approx(0.016 * 0.97**stairs)
        assert rate(5 + 2.4 * (stairs + 1) - 0.1) == pytest.approx(0.016 * 0.97**stairs)


def test_transfer_makes_twenty_thousand_updates_of_cifar() -> None:
    config = load_config("transfer")
    retrain = config.retrain
    assert (config.deploy.resolution, retrain.batch_size, retrain.dropout, retrain.sched) == (224, 256, 0.1, "cosine")
    assert retrain.epochs * (50_000 // retrain.batch_size) == pytest.approx(20_000, rel=0.01)
    group = retrain.make_optimizer(nn.Linear(1, 1)).param_groups[0]
    assert (group["nesterov"], group["momentum"]) == (True, 0.9)


def test_overrides_come_last_and_are_typed() -> None:
    config = load_config(
        "tiny",
        ["supernet.epochs=4", "supernet.lr=1e-3", "data.source=cifar10", "retrain.ema_decay=null"],
        target="cpu",
        seed=7,
    )
    assert (config.supernet.epochs, config.supernet.lr, config.data.source) == (4, 0.001, "cifar10")
    assert isinstance(config.supernet.lr, float)
    assert config.retrain.ema_decay is None
    assert (config.target, config.seed) == ("cpu", 7)
    # What was not named stays the preset's.
    assert config.supernet.batch_size == load_config("tiny").supernet.batch_size


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1.0e-3", 1e-3), (".5", 0.5), ("1", 1.0), ("5E-2", 0.05)],
)
def test_numbers_are_read_as_people_write_them(text: str, value: float) -> None:
    config = load_config("tiny", [f"supernet.lr={text}", f"retrain.opt_args.eps={text}"])
    assert config.supernet.lr == value
    assert config.retrain.opt_args == {"eps": value}
    assert isinstance(config.retrain.opt_args["eps"], float)


@pytest.mark.parametrize("section", ["supernet", "retrain"])
def test_mixed_precision_is_bfloat16_or_none(section: str) -> None:
    for value in ("none", "bfloat16"):
        config = load_config("tiny", [f"{section}.amp={value}"])
        assert getattr(config, section).amp == value
    # float16 would need loss scaling, which the m backward passes of a step do not have.
    for value in ("float16", "true", "on", "null"):
        with pytest.raises(UserError, match=rf"{section}.amp: Input should be 'none' or 'bfloat16'"):
            load_config("tiny", [f"{section}.amp={value}"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("supernet.epoch=3", "unknown key 'supernet.epoch': did you mean 'epochs'?"),
        ("supernt.epochs=3", "unknown key 'supernt': did you mean 'supernet'?"),
        ("supernet.augment.scal=1", "unknown key 'supernet.augment.scal': did you mean 'scale'?"),
        ("serach.picks=2", "unknown key 'serach': did you mean 'search'?"),
        ("latency.zzz=2", "unknown key 'latency.zzz': choose from table, int8_table"),
        ("search.objectives={acuracy: maximize, madds: minimize}", "'latency_int8_ms', 'madds' or 'params'"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(override: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        load_config("tiny", [override])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("supernet.epochs=0", "supernet.epochs: Input should be greater than or equal to 1 (got 0)"),
        ("supernet.batch_size=1", "supernet.batch_size: Input should be greater than or equal to 2"),
        ("supernet.lr=0", "supernet.lr: Input should be greater than 0"),
        ("supernet.lr=.inf", "supernet.lr: Input should be a finite number"),
        ("supernet.lr=fast", "supernet.lr: Input should be a valid number, unable to parse string"),
        ("supernet.warmup_epochs=1", "supernet.warmup_epochs (1) must be smaller than supernet.epochs (1)"),
        ("retrain.warmup_epochs=1.5", "retrain.warmup_epochs: Input should be a valid integer"),
        ("retrain.opt=sdg", "retrain.opt: timm has no such optimiser: did you mean 'sgd'?"),
        ("retrain.sched=cosinus", "retrain.sched: Input should be 'cosine', 'tanh', 'step' or 'poly'"),
        ("retrain.momentum=1", "retrain.momentum: Input should be less than 1"),
        ("data.heldout=1", "data.heldout: Input should be less than 1"),
        ("proxy.resolution=8", "proxy.resolution: Input should be greater than or equal to 16"),
        ("proxy.resolution=16", "space b halves its input five times: resolutions must be at least 32"),
        ("deploy.width=5", "deploy.width: Input should be less than or equal to 4"),
        ("search.population=abc", "search.population: Input should be a valid integer"),
        ("search.objectives={accuracy: maximize}", "needs at least two objectives"),
        ("search.objectives={accuracy: up, madds: down}", "Input should be 'maximize' or 'minimize'"),
        ("search.constraints=[latency<=3]", "'latency<=3' is not a constraint"),
        ("search.constraints=latency_ms<=3", "search.constraints: Input should be a valid list"),
        ("search.constraints=[madds<=3, madds<=2]", "search.constraints: a quantity can be limited once"),
        ("supernet.augment.scale=[0.9, 0.1]", "supernet.augment.scale: expected two rising numbers"),
        ("supernet.augment.scale=[0.9]", "supernet.augment.scale.1: Field required"),
        ("supernet.augment.level=hard", "supernet.augment.level: Input should be 'none', 'flip' or 'crop'"),
        ("supernet.shared_gradients=max", "supernet.shared_gradients: Input should be 'sum' or 'mean'"),
        ("scoring.bn=keep", "scoring.bn: Input should be 'none', 'recalibrate' or 'batch'"),
        ("space=c", "space: unknown search space 'c': choose from a, b, macro, nasbench201"),
        ("proxy.width=0.5", "retrain.init=inherited needs proxy.width (0.5) equal to deploy.width (0.25)"),
        ("export.mean=[true, 0, 0]", "export.mean.0: Input should be a valid number"),
        ("export.mean=[.nan, 0, 0]", "export.mean.0: Input should be a finite number"),
        ("export.std=[1, 0, 1]", "export.std.1: Input should be greater than 0"),
        ("export.std=[1, 1, .inf]", "export.std.2: Input should be a finite number"),
        ("export.opset=17", "export.opset: Input should be greater than or equal to 18"),
        ("seed=-1", "seed: Input should be greater than or equal to 0"),
        ("supernet=3", "supernet: Input should be a valid dictionary"),
        ("supernet.epochs.x=3", "--set supernet.epochs.x: epochs is a value, not a section"),
        ("supernet.epochs", "--set supernet.epochs: expected key=value, for example --set supernet.epochs=3"),
        ("=3", "--set : expected key=value"),
        ("supernet.epochs=[1", "--set supernet.epochs: the value is not valid YAML: expected ',' or ']'"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        load_config("tiny", [override])
    assert "\n" not in str(caught.value)


def test_every_preset_in_the_folder_refuses_a_foreign_key() -> None:
    for preset in list_presets():
        with pytest.raises(UserError, match="unknown key 'epochs'"):
            load_config(preset, ["epochs=3"])


def test_limits_keep_all_their_digits() -> None:
    config = load_config("tiny", ["search.constraints=[params<=1234567, madds <= 400e6, latency_ms<=8.123456789]"])
    assert config.search.constraints == ["params<=1234567", "madds<=400000000", "latency_ms<=8.123456789"]


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=re.escape("unknown preset 'quickstrat': did you mean 'quickstart'?")):
        load_config("quickstrat")
    with pytest.raises(UserError, match=re.escape("unknown preset 'x': choose from cifar10, ")):
        load_config("x")


def test_a_preset_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((PRESETS_FOLDER / "tiny.yaml").read_text() + "seed: 3\n")
    config = load_config(str(path))
    assert (config.preset, config.seed) == ("mine", 3)
    for content, message in (
        ("supernet: [", f"{path} is not valid YAML"),
        ("- 1", f"{path} is not a configuration"),
        ("", f"{path} is not a configuration"),
        ("seed: 3", "proxy: Field required"),
    ):
        path.write_text(content)
        with pytest.raises(UserError, match=re.escape(message)) as caught:
            load_config(str(path))
        assert "\n" not in str(caught.value)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not UTF-8"):
        load_config(str(path))


def test_a_configuration_cannot_change() -> None:
    config: Config = load_config("tiny")
    with pytest.raises(ValidationError, match="frozen"):
        config.supernet.epochs = 5  # type: ignore[misc]
