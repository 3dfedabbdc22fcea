"""The typed schema of a configuration: every key, what it means, and what it may be.

OmegaConf merges conf/ and the command line into these dataclasses and refuses unknown keys and wrong types.
`pipeline.config.checks` finds what types cannot express. The help text of `run.py` is written from the same fields.
"""

from dataclasses import dataclass, field

from pipeline.config.schema_dataset import DatasetConfig
from pipeline.config.schema_key import key

ENCODERS = (  # networks trained on ImageNet that can be the encoder of a U-Net
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "mobilenet_v2",
    "resnet50",
    "efficientnetv2_b0",
    "vgg16",
)
ENCODER_DEPTH = 5  # all of them have features at strides up to 2**5
SCHEMA_VERSION = 1  # stored with every run; raised when a key is removed or changes its meaning


@dataclass
class ModelConfig:
    name: str = key("architecture", choices=("unet", *(f"unet_{encoder}" for encoder in ENCODERS)))
    depth: int = key(
        f"number of down-sampling steps, each of which halves the image; at most {ENCODER_DEPTH} with an encoder",
        least=1,
        most=8,
    )
    width: int = key("channels of the first level, doubled at each step; with an encoder, of the decoder", least=1)
    norm: str = key("normalisation after each convolution", choices=("batch", "group", "none"))
    dropout: float = key(
        "dropout rate at the two deepest levels; with an encoder, at the deepest one only", least=0, below=1
    )
    upsampling: str = key(
        "transposed: 2x2 transposed convolution; nearest, bilinear: 1x1 convolution, then interpolation",
        choices=("transposed", "nearest", "bilinear"),
    )
    encoder_weights: str | None = key(
        "initial weights of the encoder in unet_<encoder>: imagenet, or a file; null: random weights", None
    )
    encoder_norm: str = key(
        "BatchNormalization of the encoder; batch: trained like any other; frozen: neither trained nor updated",
        "batch",
        choices=("batch", "frozen"),
    )
    logits: str = key(
        "finest: from the decoder's last level; every_level: the sum of the logits of all levels",
        "finest",
        choices=("finest", "every_level"),
    )


@dataclass
class OptimizerConfig:
    name: str = key("optimizer", choices=("adam", "adamw", "sgd"))
    learning_rate: float = key("highest learning rate, reached after the warm-up", above=0)
    weight_decay: float | None = key("decoupled weight decay of the kernels; for adamw and sgd only", None, least=0)
    momentum: float | None = key("Nesterov momentum; for sgd only", None, least=0, below=1)
    encoder_rate: float = key(
        "factor on the learning rate of the encoder in unet_<encoder>, not on its weight decay; 0: frozen", 1.0, least=0
    )
    accumulate: int = key("number of batches whose gradients are averaged for one update of the weights", 1, least=1)
    clip_norm: float | None = key("gradients are scaled down to this global norm; null: no clipping", None, above=0)
    ema: float | None = key(
        "momentum of a moving average of the weights, which is then evaluated; null: no average", None, above=0, below=1
    )


@dataclass
class ScheduleConfig:
    name: str = key("how the learning rate falls after the warm-up", choices=("constant", "cosine", "poly"))
    warmup_epochs: float = key("epochs, or a fraction of one, in which the learning rate rises from zero", 0.0, least=0)
    power: float | None = key("exponent of the fall; for poly only", None, above=0)


@dataclass
class LossConfig:
    cross_entropy: float = key("weight of the cross-entropy over valid pixels", least=0)
    focal_gamma: float = key("focus of the cross-entropy on hard pixels (Lin et al. 2017); 0: none", 0.0, least=0)
    class_weights: str = key("class weights of the cross-entropy", "none", choices=("none", "median_frequency"))
    dice: float = key("weight of the soft Dice loss over the classes present", least=0)


@dataclass
class AugmentConfig:
    scale: list[float] = key("least and greatest random zoom, drawn log-uniformly")  # noqa: RUF009
    flip: bool = key("mirror half of the crops from left to right")
    flip_vertical: bool = key("mirror half of the crops from top to bottom", False)
    quarter_turns: bool = key("turn each crop by 0, 90, 180 or 270 degrees", False)
    rotate: float = key("greatest angle of a rotation, either way, in degrees; 180: any", 0.0, least=0, most=180)
    shear: float = key("greatest angle by which columns or rows lean, in degrees", 0.0, least=0, most=45)
    elastic: float = key(
        "greatest displacement of a smooth deformation, down and across, as a share of the crop's side",
        0.0,
        least=0,
        most=0.06,
    )
    brightness: float = key("greatest relative change of brightness", least=0, below=1)
    contrast: float = key("greatest relative change of contrast", least=0, below=1)
    saturation: float = key("greatest relative change of saturation", least=0, below=1)
    hue: float = key("greatest shift of the hue, as a share of the full circle", least=0, most=0.5)
    blur: float = key(
        "greatest standard deviation, in pixels of the crop, of a Gaussian that blurs half of the crops",
        0.0,
        least=0,
        most=10,
    )
    noise: float = key(
        "greatest standard deviation of Gaussian noise in half of the crops; values go to 255", 0.0, least=0, most=100
    )
    jpeg: int | None = key(
        "lowest quality at which half of the crops are compressed as JPEG; null: none are", None, least=1, most=100
    )
    cutmix: float = key(
        "share of crops that get a rectangle of the next one in the batch (Yun et al. 2019)", 0.0, least=0, most=1
    )


@dataclass
class EvaluateConfig:
    batch_size: int = key("images of equal padded size per batch; does not change any prediction", 8, least=1)
    scales: list[float] = key(  # noqa: RUF009
        "sizes, relative to the working size, at which an image is predicted; the probabilities are averaged", [1.0]
    )
    flip: bool = key("predict the mirrored image as well and average the probabilities", False)
    window: int | None = key(
        "predict square windows of this side, overlapping by half; null: the whole image at once", None, least=8
    )
    overlays: int = key("number of test overlays that are stored, and of the best and of the worst ones", 8, least=0)
    val_predictions: int = key("number of validation images whose predictions are stored every epoch", 4, least=0)
    log_images: int | None = key(
        "megabytes of images that a run logs for MLflow's image grid: of those validation images after every epoch, of "
        "the test images with overlays at the end; 0, null: none",
        None,
        least=0,
    )


@dataclass
class CheckpointConfig:
    every_steps: int | None = key(
        "save a checkpoint after so many steps, in addition to every epoch; null: only every epoch", None, least=1
    )
    keep: int = key("number of newest checkpoints on the disk, in addition to the best epoch's weights", 2, least=1)
    upload: str = key(
        "upload to MLflow: best: the best epoch's weights, at the end; end: the last checkpoint as well; epoch: both "
        "after every epoch, so that another machine can resume the run",
        "end",
        choices=("best", "end", "epoch"),
    )


@dataclass
class TrackingConfig:
    uri: str | None = key(
        "MLflow tracking address; null: MLFLOW_TRACKING_URI or, without it, mlruns/mlflow.db in the current directory",
        None,
    )
    experiment: str | None = key(
        "MLflow experiment; null: MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID or, without them, segmentation", None
    )
    run_name: str | None = key(
        "name of the run in MLflow; null: MLFLOW_RUN_NAME or, without it, made from dataset, model and seed", None
    )


@dataclass
class SweepConfig:
    name: str | None = key(
        "name of the sweep; the same name continues it; null: made from the experiment and a hash of the command", None
    )
    max_failures: int | None = key("stop the sweep after so many failed trials; null: never", None, least=1)
    max_minutes: float | None = key(
        "begin no trial after so many minutes, those of earlier starts included, and interrupt the trials that run; "
        "the same command with more minutes continues; null: never",
        None,
        above=0,
    )
    retry_failed: bool = key("when a sweep is continued, repeat its failed trials as well", False)
    objectives: list[str] = key(  # noqa: RUF009
        "metrics that sweep=optuna optimises, or `parameters`, the number of weights; losses, times and parameters are "
        "minimised, all others maximised",
        ["best/val_mean_iou"],
    )
    sampler: str = key(
        "Optuna's sampler; cmaes needs the package cmaes, gp needs torch",
        "tpe",
        choices=("tpe", "cmaes", "random", "nsga2", "gp"),
    )
    pruner: str = key(
        "Optuna's pruner, which ends bad trials early by val/mean_iou; for one objective only",
        "none",
        choices=("none", "median", "hyperband"),
    )
    storage: str | None = key(
        "where sweep=optuna stores its study: an SQLAlchemy address, or journal:<file>; null: mlruns/optuna.db", None
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
    image_size: int = key("side of the square training crop, in pixels", least=8)
    long_side: int | None = key(
        "long side that images are scaled to, in training and in evaluation; null: their own size", least=8
    )
    batch_size: int = key("training crops per step", least=1)
    sampling: str = key(
        "uniform: every image once in a pass over them; balanced: images with rare classes more often than others",
        "uniform",
        choices=("uniform", "balanced"),
    )
    epochs: int = key(
        "passes over the training split, each followed by validation; with steps: so many equal parts of the run",
        least=1,
    )
    steps: int | None = key(
        "length of the run in batches, a multiple of epochs: then it does not depend on how many images there are, and "
        "batches continue from one pass to the next; null: epochs passes",
        None,
        least=1,
    )
    overfit: bool = key(
        "a check of data, network and optimizer: train until the training images' own mean IoU is 0.95, and say what "
        "may be wrong if it is not reached; they are val as well, and there is no test split",
        False,
    )
    early_stopping: int | None = key("stop after so many epochs without a better val mIoU; null: never", None, least=1)
    max_minutes: float | None = key(
        "end training when another epoch would take it beyond so many minutes, those before an interruption included; "
        "null: never",
        None,
        above=0,
    )
    init_from: str | None = key(
        "finished run of the same network, or registered model (models:/<name>@<alias>), that the weights are taken "
        "from; with other classes, the logits start from random weights",
        None,
    )
    seed: int = key("seed of every random choice", 0, least=0, most=2**31 - 1)
    data_dir: str = key("folder where datasets are downloaded or generated", "data")
    cache_mb: int = key(
        "MiB of memory for decoded training images, at most a quarter of what this process may still use; more of them "
        "go into a file in data_dir; 0: no cache",
        4096,
        least=0,
    )
    precision: str = key(
        "arithmetic of the network; auto: chosen by the hardware's capabilities",
        "auto",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    threads: int | str = key(
        "CPU threads; auto: one for each available processor", "auto", least=1, most=4096, choices=("auto",)
    )
    kernels: str = key(
        "library that computes on a CPU; auto: onednn on processors with AVX2; tensorflow: as TensorFlow chooses",
        "auto",
        choices=("auto", "onednn", "eigen", "tensorflow"),
    )
    deterministic: bool = key("produce the same bits in every run on the same machine", True)
