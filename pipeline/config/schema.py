"""The typed schema of a configuration: every key, what it means, and what it may be.

OmegaConf merges conf/ and the command line into these dataclasses, so a wrong type or an unknown key is refused there;
`pipeline.config.validation` then finds everything that types cannot say. The help text of `run.py` is written from the
same fields.
"""

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING

ENCODERS = (  # networks for ImageNet that can be the encoder of a U-Net
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "mobilenet_v2",
    "resnet50",
    "efficientnetv2_b0",
    "vgg16",
)
ENCODER_DEPTH = 5  # each of them has features at strides up to 2**5
SCHEMA_VERSION = 1  # stored with every run; raised when a key is taken away or changes its meaning


def key(
    description: str,
    default: Any = MISSING,
    *,
    choices: tuple[str, ...] = (),
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field with the facts that checks and the help text need.

    Args:
        description: one line that explains the key.
        choices: the values that a text may have.
        least, above, most, below: the bounds of a number: >=, >, <= and <.
    """
    metadata = {
        "description": description,
        "choices": choices,
        "least": least,
        "above": above,
        "most": most,
        "below": below,
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass
class SplitsConfig:
    train: str = key("list file of the training images, ImageSets/Segmentation/<name>.txt")
    val: str | None = key("list file that chooses the best epoch; null holds out a part of train")
    test: str | None = key("list file scored once at the end; null gives no test scores")
    extra: str | None = key(
        "list file of further training images in the same folders, such as SBD's; none of them is held out", None
    )


@dataclass
class DatasetConfig:
    name: str = key("where the images come from", choices=("shapes", "voc2007", "voc2012", "folder"))
    root: str | None = key(
        "folder with JPEGImages/, SegmentationClass/ and ImageSets/; null: its place in data_dir", None
    )
    classes: list[str] = key("class names in the order of the mask's indices, background first")  # noqa: RUF009
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    val_fraction: float = key("share of train that is held out when splits.val is null", 0.1, above=0, below=1)


@dataclass
class ModelConfig:
    name: str = key("architecture", choices=("unet", *(f"unet_{encoder}" for encoder in ENCODERS)))
    depth: int = key("down-sampling steps; each halves the image; at most 5 with an encoder", least=1, most=8)
    width: int = key(
        "channels of the first level; they double at each step down; with an encoder: the decoder's", least=1
    )
    norm: str = key("normalisation after each convolution", choices=("batch", "group", "none"))
    dropout: float = key(
        "rate of dropout at the two deepest levels; with an encoder at the deepest alone", least=0, below=1
    )
    upsampling: str = key(
        "transposed: 2x2 transposed convolution; nearest, bilinear: 1x1 convolution, then that interpolation",
        choices=("transposed", "nearest", "bilinear"),
    )
    encoder_weights: str | None = key(
        "what unet_<encoder> starts from: imagenet, or a file of weights for that network; null: random weights", None
    )
    encoder_norm: str = key(
        "the encoder's BatchNormalization: batch: trained like any other; frozen: stays as it starts, statistics too",
        "batch",
        choices=("batch", "frozen"),
    )
    logits: str = key(
        "finest: of the decoder's last level; every_level: the sum of all levels' logits, by which deep features reach "
        "the loss directly",
        "finest",
        choices=("finest", "every_level"),
    )


@dataclass
class OptimizerConfig:
    name: str = key("optimizer", choices=("adam", "adamw", "sgd"))
    learning_rate: float = key("highest learning rate, reached after warm-up", above=0)
    weight_decay: float | None = key("decoupled decay of the kernels; adamw and sgd only", None, least=0)
    momentum: float | None = key("Nesterov momentum; sgd only", None, least=0, below=1)
    encoder_rate: float = key(
        "share of the learning rate for the encoder of unet_<encoder>, which decays at all of it; 0: it is frozen",
        1.0,
        least=0,
    )
    accumulate: int = key(
        "batches whose gradients are averaged for one update of the weights; memory holds one of them at a time",
        1,
        least=1,
    )
    clip_norm: float | None = key("gradients are scaled down to this global norm; null: never", None, above=0)
    ema: float | None = key(
        "momentum of the weights' moving average used for evaluation; null: none", None, above=0, below=1
    )


@dataclass
class ScheduleConfig:
    name: str = key("how the learning rate falls after warm-up", choices=("constant", "cosine", "poly"))
    warmup_epochs: float = key("epochs (fractions allowed) over which it first rises from zero", 0.0, least=0)
    power: float | None = key("exponent of the fall; poly only", None, above=0)


@dataclass
class LossConfig:
    cross_entropy: float = key("weight of the cross-entropy over valid pixels", least=0)
    focal_gamma: float = key("focus of the cross-entropy on hard pixels (Lin et al. 2017); 0: plain", 0.0, least=0)
    class_weights: str = key("weights in the cross-entropy", "none", choices=("none", "median_frequency"))
    dice: float = key("weight of the soft Dice loss over the classes present", least=0)


@dataclass
class AugmentConfig:
    scale: list[float] = key("least and greatest random zoom, drawn log-uniformly")  # noqa: RUF009
    flip: bool = key("mirror half of the crops from left to right")
    brightness: float = key("greatest relative change of brightness", least=0, below=1)
    contrast: float = key("greatest relative change of contrast", least=0, below=1)
    saturation: float = key("greatest relative change of saturation", least=0, below=1)
    hue: float = key("greatest turn of the hue, as a share of the full circle", least=0, most=0.5)
    cutmix: float = key(
        "share of the crops that get a rectangle of the batch's next one (Yun et al. 2019)", 0.0, least=0, most=1
    )


@dataclass
class EvaluateConfig:
    batch_size: int = key("images per batch of equal padded size; does not change any prediction", 8, least=1)
    scales: list[float] = key(  # noqa: RUF009
        "sizes, as shares of the working scale, that each image is predicted at; their probabilities are averaged",
        [1.0],
    )
    flip: bool = key("each image is predicted mirrored, too, and the probabilities are averaged", False)
    window: int | None = key(
        "side of the square windows, overlapping by half, that an image is predicted in; null: whole", None, least=8
    )
    overlays: int = key("overlay images kept of the test split, and as many of the best and of the worst", 8, least=0)
    val_predictions: int = key("validation images whose predicted masks are kept after every epoch", 4, least=0)


@dataclass
class CheckpointConfig:
    every_steps: int | None = key(
        "also after so many steps, so that little of a long epoch is lost; null: never", None, least=1
    )
    keep: int = key("newest checkpoints kept on the disk, beside the best epoch's weights", 2, least=1)
    upload: str = key(
        "what MLflow gets: best: the best epoch's weights, at the end; end: and the last checkpoint; epoch: both after "
        "every epoch, so that another machine can resume",
        "end",
        choices=("best", "end", "epoch"),
    )


@dataclass
class TrackingConfig:
    uri: str | None = key("MLflow tracking address; null: mlruns/mlflow.db in the current directory", None)
    experiment: str = key("MLflow experiment", "segmentation")
    run_name: str | None = key("name of the run; null: made from dataset, model and seed", None)


@dataclass
class SweepConfig:
    name: str | None = key(
        "with -m: the sweep's identity; the same command or name goes on with the same sweep; null: made from the "
        "experiment and a hash of what is typed",
        None,
    )
    max_failures: int | None = key("a sweep is given up after so many failed trials; null: never", None, least=1)
    retry_failed: bool = key("a sweep that is started again also repeats the trials that failed", False)
    objectives: list[str] = key(  # noqa: RUF009
        "metrics that sweep=optuna optimises; losses, times and `parameters`, the number of weights, are made small, "
        "all others large",
        ["best/val_mean_iou"],
    )
    sampler: str = key(
        "how sweep=optuna draws; cmaes needs the package cmaes, gp the package torch",
        "tpe",
        choices=("tpe", "cmaes", "random", "nsga2", "gp"),
    )
    pruner: str = key(
        "what ends a trial early by its val/mean_iou; one objective only",
        "none",
        choices=("none", "median", "hyperband"),
    )
    storage: str | None = key(
        "where sweep=optuna keeps its study: an SQLAlchemy address or journal:<file>; null: mlruns/optuna.db", None
    )


@dataclass
class Config:
    dataset: DatasetConfig = field(default_factory=DatasetConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    image_size: int = key("side of the square training crop, pixels", least=8)
    long_side: int | None = key(
        "long side that images are scaled to, in training and evaluation; null: own size", least=8
    )
    batch_size: int = key("training crops per step", least=1)
    sampling: str = key(
        "uniform: every image once in an epoch; balanced: images with rare objects more often, others less",
        "uniform",
        choices=("uniform", "balanced"),
    )
    epochs: int = key("passes over the training split", least=1)
    early_stopping: int | None = key(
        "stop after so many epochs without a better validation mIoU; null: never", None, least=1
    )
    init_from: str | None = key(
        "a finished run of the same network whose weights are started from; with other classes, the logits' are new",
        None,
    )
    seed: int = key("every random choice is a function of it", 0, least=0, most=2**31 - 1)
    data_dir: str = key("where datasets are downloaded to or generated", "data")
    cache_mb: int = key(
        "decoded training images stay in memory up to so many MiB, else in a file in data_dir; 0: in neither",
        4096,
        least=0,
    )
    precision: str = key(
        "arithmetic of the network; auto: by the hardware's capabilities",
        "auto",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    threads: int | str = key(
        "processor threads; auto: one for each processor available", "auto", least=1, most=4096, choices=("auto",)
    )
    deterministic: bool = key("the same bits on every run on the same machine", True)
