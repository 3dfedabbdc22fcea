"""The part of the schema that says which data are meant: `dataset.*`."""

from dataclasses import dataclass, field

from pipeline.config.schema_key import key


@dataclass
class SplitsConfig:
    train: str = key("list of the training images: ImageSets/Segmentation/<name>.txt")
    val: str | None = key("list of the images that choose the best epoch; null: a part of train is held out")
    test: str | None = key("list of the images that are scored once, at the end; null: no test scores")
    extra: str | None = key("list of further training images, none of which is held out, such as SBD's", None)


@dataclass
class DatasetConfig:
    name: str = key("where the images come from", choices=("shapes", "voc2007", "voc2012", "folder"))
    root: str | None = key(
        "folder that holds JPEGImages/, SegmentationClass/ and ImageSets/; null: the dataset's folder in data_dir", None
    )
    classes: list[str] = key(  # noqa: RUF009
        "class names in the order of the mask's indices; []: those of dataset.yaml in the folder, else PASCAL VOC's"
    )
    background: str | None = key(
        "the class that is the background; auto: the one called background, if any; null: none, as in street scenes",
        "auto",
    )
    colours: list[str] | None = key(  # noqa: RUF009
        "colours of the classes in overlays and masks, '#rrggbb' each; null: chosen for the classes", None
    )
    splits: SplitsConfig = field(default_factory=SplitsConfig)
    val_fraction: float = key("share of train that is held out if dataset.splits.val=null", 0.1, above=0, below=1)
    folds: int | None = key(
        "cut train by hash into so many folds, for cross-validation; dataset.splits.val is not used then; null: no "
        "folds",
        None,
        least=2,
    )
    fold: int | None = key(
        "the fold of dataset.folds, counted from 0, that is val; the others are train", None, least=0
    )
    group: str | None = key(
        r"pattern on ids whose first group names what stays together when train is cut: '^(\w+)_' for video frames; "
        "null: each image alone",
        None,
    )
    limit: int | None = key(
        "for a quick look: of each split, the so many images with the smallest hashes; null: all", None, least=1
    )
    exif: str = key(
        "images whose EXIF orientation turns them for display; refuse: name them; apply: turn them as viewers do, for "
        "masks drawn on the displayed image; ignore: their pixels as they are stored",
        "refuse",
        choices=("refuse", "apply", "ignore"),
    )
    intensity: list[float] | None = key(  # noqa: RUF009
        "range [low,high] of values that becomes 0 to 255 in images of more than 8 bits a channel, linearly and "
        "clipped; images of 8 bits stay as they are; null: more than 8 bits are refused",
        None,
    )
