"""Overrides: what they compose to, and one line for every mistake."""

import shlex

import pytest

from pipeline.config.hydra_files import compose_overrides
from pipeline.config.keys import leaves
from pipeline.config.override_names import kept_keys
from pipeline.config.overrides import checked_config
from pipeline.config.validation import checked
from pipeline.runtime.errors import UserError

MODELS = (  # in the order of the files
    "unet, unet_efficientnet_lite0, unet_efficientnet_lite1, unet_efficientnet_lite2, unet_efficientnetv2_b0, "
    "unet_mobilenet_v2, unet_resnet50 or unet_vgg16"
)


def faults_of(*overrides: str) -> list[str]:
    with pytest.raises(UserError) as raised:
        checked_config(overrides)
    return list(raised.value.faults)


# ---- valid overrides


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("epochs=3", "epochs", 3),
        ("++epochs=3", "epochs", 3),
        ("threads=2", "threads", 2),
        ("threads=auto", "threads", "auto"),
        ("long_side=null", "long_side", None),
        ("deterministic=false", "deterministic", False),
        ("optimizer.learning_rate=1e-3", "optimizer.learning_rate", 1e-3),
        ("optimizer.learning_rate=1", "optimizer.learning_rate", 1.0),
        ("augment.scale=[0.5,2]", "augment.scale", [0.5, 2.0]),
        ("dataset.classes=[background,'a, b',\"c=d\",3]", "dataset.classes", ["background", "a, b", "c=d", "3"]),
        ("tracking.run_name='a, b'", "tracking.run_name", "a, b"),
        ('tracking.run_name="it\'s = 1"', "tracking.run_name", "it's = 1"),
        ("tracking.run_name=${dataset.name}_${seed}", "tracking.run_name", "shapes_0"),
        ("tracking.run_name=${oc.env:WHO}", "tracking.run_name", "Ada"),
        ("model.width=${model.depth}", "model.width", 4),
        ('tracking.uri="sqlite:////tmp/x.db?a=b"', "tracking.uri", "sqlite:////tmp/x.db?a=b"),
        ("tracking.uri=http://127.0.0.1:5000", "tracking.uri", "http://127.0.0.1:5000"),
        ("dataset.splits={train: all, val: null}", "dataset.splits.train", "all"),
        ("dataset.splits.val=null", "dataset.splits.val", None),
    ],
)
def test_value_is_what_was_typed(override: str, key: str, value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHO", "Ada")
    config: object = checked_config([override])
    for part in key.split("."):
        config = getattr(config, part)
    assert config == value
    assert type(config) is type(value)


def test_the_last_of_two_overrides_counts() -> None:
    assert checked_config(["epochs=3", "epochs=4"]).epochs == 4


def test_a_key_counts_whatever_group_is_chosen_after_it() -> None:
    config = checked_config(["optimizer.learning_rate=0.5", "image_size=64", "optimizer=sgd", "dataset=voc2012"])
    assert (config.optimizer.name, config.optimizer.learning_rate, config.image_size) == ("sgd", 0.5, 64)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["dataset=voc2012", "model.depth=5", "optimizer=sgd", "seed=3"],
        ["dataset.classes=[background,'a, b']", "augment.scale=[1,2]", "dataset.splits={val: null}"],
        ["experiment=classic", "epochs=2", "loss=focal"],
    ],
)
def test_the_same_configuration_as_hydra_composes(overrides: list[str]) -> None:
    assert checked_config(overrides) == checked(compose_overrides(overrides))


# ---- invalid overrides: one line each


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("model.dept=3", "model.dept=3: unknown key 'model.dept' (did you mean 'model.depth'?)"),
        ("epochz=3", "epochz=3: unknown key 'epochz' (did you mean 'epochs'?)"),
        ("lr=1", "lr=1: unknown key 'lr' (did you mean 'optimizer.learning_rate'?)"),
        ("width=3", "width=3: unknown key 'width' (did you mean 'model.width'?)"),
        ("optimiser=sgd", "optimiser=sgd: unknown key 'optimiser' (did you mean 'optimizer'?)"),
        ("optimiser.ema=0.9", "optimiser.ema=0.9: unknown key 'optimiser.ema' (did you mean 'optimizer.ema'?)"),
        ("qqqq=3", "qqqq=3: unknown key 'qqqq' (see --help)"),
        ("+model.foo=3", "+model.foo=3: unknown key 'model.foo' (did you mean 'model.norm'?)"),
        ("++model.foo=3", "++model.foo=3: unknown key 'model.foo' (did you mean 'model.norm'?)"),
        ("+epochz=3", "+epochz=3: unknown key 'epochz' (did you mean 'epochs'?)"),
        ("+epochs=3", "+epochs=3: 'epochs' exists already; epochs=3 expected"),
        ("+experiment=classic", "+experiment=classic: 'experiment' exists already; experiment=classic expected"),
        ("augment.scale.0=3", "augment.scale.0=3: unknown key 'augment.scale.0' (did you mean 'augment.scale'?)"),
        (
            "~model.depth",
            "~model.depth: a key cannot be removed; set it to another value, or to null where --help allows it",
        ),
        ("~model", "~model: a key cannot be removed; set it to another value, or to null where --help allows it"),
        ("model=unett", f"model=unett: {MODELS} expected (did you mean 'unet'?)"),
        ("dataset=vocc2012", "dataset=vocc2012: folder, shapes, voc2007 or voc2012 expected (did you mean 'voc2012'?)"),
        ("dataset=[shapes]", "dataset=[shapes]: folder, shapes, voc2007 or voc2012 expected (did you mean 'shapes'?)"),
        ("model=null", f"model=null: {MODELS} expected"),
        ("model=", f"model=: {MODELS} expected"),
        (
            "experiment=null",
            "experiment=null: classic, few_images, shapes_quick, voc2012, voc2012_sbd or voc_small expected",
        ),
        ("epochs=ten", "epochs=ten: a whole number expected, not 'ten'"),
        ("epochs=2.5", "epochs=2.5: a whole number expected, not '2.5'"),
        ("epochs=true", "epochs=true: a whole number expected, not 'True'"),
        ("deterministic=maybe", "deterministic=maybe: true or false expected, not 'maybe'"),
        ("seed=null", "seed=null: it cannot be null"),
        ("augment.scale=[a,b]", "augment.scale=[a,b]: a number expected, not 'a'"),
        ("augment.scale=0.5", "augment.scale=0.5: a list expected, such as '[0.5,2]'"),
        ("evaluate={overlay: 3}", "evaluate={overlay: 3}: Key 'overlay' not in 'EvaluateConfig'"),
        ("dataset.classes=[[a],b]", "dataset.classes=[[a],b]: a list of single values expected"),
        ("threads=0", "threads=0: auto or at least 1 and at most 4096 expected"),
        ("optimizer.learning_rate=nan", "optimizer.learning_rate=nan: a finite number expected"),
        ("epochs=-3", "epochs=-3: at least 1 expected"),
        ("epochs", "epochs: key=value expected"),
        ("=3", "=3: unknown key '' (see --help)"),
        (
            "tracking.uri=sqlite:////tmp/x.db?a=b",
            "tracking.uri=sqlite:////tmp/x.db?a=b: a value with special characters is quoted, twice for the shell: "
            "'tracking.uri=\"sqlite:////tmp/x.db?a=b\"'",
        ),
        (
            "dataset.classes=[a,",
            "dataset.classes=[a,: a list is written without spaces, and quoted for the shell: 'dataset.classes=[a,b]'",
        ),
        ("model.width=${model.dept}", "model.width=${model.dept}: Interpolation key 'model.dept' not found"),
        (
            "data_dir=${oc.env:NOT_SET_HERE}",
            "data_dir=${oc.env:NOT_SET_HERE}: KeyError raised while resolving interpolation: "
            "\"Environment variable 'NOT_SET_HERE' not found\"",
        ),
        ("hydra.foo=3", "hydra.foo=3: Key 'foo' not in 'HydraConf'"),
    ],
)
def test_one_mistake_is_one_line(override: str, fault: str) -> None:
    assert faults_of(override) == [fault]


def test_the_launchers_are_named_whatever_is_installed() -> None:
    assert faults_of("hydra/launcher=foo") == [
        "hydra/launcher=foo: In 'hydra/config': Could not find 'hydra/launcher/foo' "
        "Available options in 'hydra/launcher': basic joblib ray submitit_local submitit_slurm"
    ]


def test_the_advised_quoting_works() -> None:
    """The quoted form in the message, as a shell passes it on."""
    (fault,) = faults_of("tracking.uri=sqlite:////tmp/x.db?a=b")
    (advised,) = shlex.split(fault.rpartition("shell: ")[2])
    assert checked_config([advised]).tracking.uri == "sqlite:////tmp/x.db?a=b"


def test_all_faults_at_once_in_the_order_given() -> None:
    """Unknown keys, types, ranges and contradictions are reported together."""
    faults = faults_of(
        "epochs=-3",
        "model.dept=2",
        "seed=x",
        "dataset=vocc2012",
        "model.width=0",
        "+foo=1",
        "image_size=100",
        "threads=0",
    )
    assert [fault.partition(":")[0] for fault in faults] == [
        "epochs=-3",
        "model.dept=2",
        "seed=x",
        "dataset=vocc2012",
        "model.width=0",
        "+foo=1",
        "image_size=100",
        "threads=0",
    ]


def test_a_fault_of_a_file_does_not_hide_the_others() -> None:
    faults = faults_of("hydra/launcher=foo", "epochs=ten", "dataset=folder", "model@x=unet")
    assert len(faults) == 4
    assert faults[1].startswith("epochs=ten")
    assert faults[3].startswith("dataset.root=null")


# ---- sweeps


@pytest.mark.parametrize(
    ("overrides", "first"),
    [
        (["seed=1,2"], {"seed": 1}),
        (["model.depth=2,3"], {"model.depth": 2}),
        (["model.depth=choice(2,3)", "seed=range(5,8)"], {"model.depth": 2, "seed": 5}),
        (["dataset=shapes,folder", "dataset.root=/my/VOC"], {"dataset.name": "shapes"}),
        (["dataset=glob(voc*)"], {"dataset.name": "voc2007"}),
        (["optimizer=sgd,adamw", "optimizer.weight_decay=0.1,0.01"], {"optimizer.name": "sgd"}),
        (["augment.scale=[1,1],[0.5,2]"], {"augment.scale": [1.0, 1.0]}),
        (["tracking.run_name='a,b','c,d'"], {"tracking.run_name": "a,b"}),
        (["sweep=optuna", "model.width=interval(8,64)"], {"model.width": 8, "sweep.max_failures": 10}),
        (["sweep=optuna", "optimizer.learning_rate=tag(log,interval(1e-4,1))"], {"optimizer.learning_rate": 1e-4}),
    ],
)
def test_sweep_is_represented_by_its_first_values(overrides: list[str], first: dict[str, object]) -> None:
    config = checked_config(overrides)
    values = {name: value for name, _, value in leaves(config)}
    assert {name: values[name] for name in first} == first


@pytest.mark.parametrize(
    ("overrides", "faults"),
    [
        (["seed=1,x"], ["seed=1,x: a whole number expected, not 'x'"]),
        (["model.depth=2,30"], ["model.depth=30: at least 1 and at most 8 expected"]),
        (["seed=range(-2,1)"], [f"seed={seed}: at least 0 and at most 2147483647 expected" for seed in (-2, -1)]),
        (
            ["dataset=shapes,vox2012,folder"],
            ["dataset=vox2012: folder, shapes, voc2007 or voc2012 expected (did you mean 'voc2012'?)"],
        ),
        (
            ["dataset=shapes,folder"],
            ["dataset.root=null: dataset=folder needs the folder that holds JPEGImages/ and the others"],
        ),
        (["dataset=glob(x*)"], ["dataset=glob(x*): folder, shapes, voc2007 or voc2012 expected"]),
        (
            ["model.depth=4,5", "image_size=48"],
            ["image_size=48: model.depth=5 halves it 5 times, so it must be a multiple of 32: 32 or 64"],
        ),
        (["epochs=0", "seed=1,2,3"], ["epochs=0: at least 1 expected"]),
        (
            ["seed=interval(0,9)"],
            ["seed=interval(0,9): only sweep=optuna draws from an interval; for a grid type a,b,c or range(…)"],
        ),
        (["sweep=optuna", "model.width=interval(0,9)"], ["model.width=0: at least 1 expected"]),
        (["sweep=optuna", "model.width=interval(1,2.5)"], ["model.width=interval(1,2.5): whole numbers expected"]),
        (["sweep=optuna", "seed=interval(9,0)"], ["seed=interval(9,0): the end must be above the start"]),
        (
            ["sweep=optuna", "loss.dice=tag(log,interval(0,1))"],
            ["loss.dice=tag(log,interval(0,1)): the logarithm needs a start above 0"],
        ),
        (
            ["seed=tag(lgo,choice(1,2))"],
            ["seed=tag(lgo,choice(1,2)): unknown tag 'lgo'; tag(log, …) is the only one"],
        ),
        (
            ["sweep.objectives=[val/loss,best/val_mean_iou]", "sweep.pruner=median"],
            ["sweep.pruner=median: works with one objective, not 2; none expected"],
        ),
        (["sweep.name=../x"], ["sweep.name=../x: up to 100 letters, digits, '.', '_' and '-' expected"]),
    ],
)
def test_every_value_of_a_sweep_is_checked(overrides: list[str], faults: list[str]) -> None:
    assert faults_of(*overrides) == faults


def test_combinations_of_a_sweep_are_checked() -> None:
    """A combination that only a trial of a sweep has: the trial is checked again, in full."""
    with pytest.raises(UserError, match=r"^image_size=48: model.depth=5 halves it 5 times"):
        checked(compose_overrides(["model.depth=5", "image_size=48"]))
    with pytest.raises(UserError, match="epochz"):
        checked(compose_overrides(["+epochz=3"]))


# ---- a group next to an experiment


@pytest.mark.parametrize(
    ("overrides", "notes"),
    [
        ([], []),
        (["augment=none", "optimizer=sgd"], []),
        (["experiment=few_images", "seed=1"], []),
        (["experiment=few_images", "optimizer=sgd", "optimizer.learning_rate=0.05", "optimizer.ema=null"], [
            "optimizer=sgd: experiment=few_images sets optimizer.encoder_rate=0.05, which stays"
        ]),
        (["augment=none", "experiment=voc2012_sbd"], [
            "augment=none: experiment=voc2012_sbd sets augment.scale=[0.5,2.0], which stays"
        ]),
        (["rerun=abc", "hydra.sweeper.n_trials=3", "experiment=null", "augment=none"], []),
    ],
)  # fmt: skip
def test_keys_that_an_experiment_sets_stay(overrides: list[str], notes: list[str]) -> None:
    assert kept_keys(overrides) == notes
