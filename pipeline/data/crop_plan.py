"""What becomes of each draw of an epoch, drawn for all of them at once, and how one crop is made of it.

The order is that of a camera: the place first, in one resampling, then blur, colours, noise and compression.
"""

from typing import NamedTuple

import tensorflow as tf

from pipeline.config.schema import AugmentConfig
from pipeline.data import augment, deformation, degradation
from pipeline.data.training_images import TrainingImages

# Purposes of seeds, one for each kind of random numbers: what is drawn of one does not change with the others.
SEEDS = ("augment", "geometry", "degradation")


class CropPlan(NamedTuple):
    """What becomes of one draw, or of many with an axis more; None: nothing of the kind."""

    index: tf.Tensor  # (...) of the example
    place: augment.Window | deformation.Deformation
    orientation: augment.Orientation | None
    colours: augment.ColourChange | None
    degradation: degradation.Degradation | None


def plan_crops(
    config: AugmentConfig,
    crop: int,
    sizes: tf.Tensor,
    seeds: tf.Tensor,
    epoch: tf.Tensor,
    order: tf.Tensor,
    rows: tf.Tensor,
) -> CropPlan:
    """Draw all random numbers of an epoch, as a function of (seeds, epoch, row).

    Args:
        crop: side of the crops in pixels.
        sizes: (examples, 2) int32 height and width of the images.
        seeds: (3,) int64, for `SEEDS`.
        epoch: integer scalar from 0.
        order: (draws,) indices of examples.
        rows: (draws,) integers, different for every draw of the epoch.
    """
    first, second, third = tf.unstack(seeds)
    numbers, drawn = augment.random_numbers(first, epoch, rows), tf.gather(sizes, order)
    geometry = augment.random_numbers(second, epoch, rows)
    place: augment.Window | deformation.Deformation
    if deformation.deforms(config):
        keys = augment.row_keys(second, epoch, rows)
        place = deformation.deformations(drawn, crop, config, numbers, geometry, keys)
    else:
        place = augment.crop_windows(drawn, crop, config, numbers)
    return CropPlan(
        order,
        place,
        augment.orientations(config, geometry),
        augment.colour_changes(config, numbers),
        degradation.degradations(
            config, augment.random_numbers(third, epoch, rows), augment.row_keys(third, epoch, rows)
        ),
    )


def make_crop(config: AugmentConfig, crop: int, source: TrainingImages, plan: CropPlan) -> tuple[tf.Tensor, tf.Tensor]:
    """One training crop, (crop, crop, 3) uint8, and its mask, (crop, crop) uint8.

    Args:
        plan: of one draw.
    """
    image, mask = source.rectangle(plan.index, plan.place.start, plan.place.extent)
    if isinstance(plan.place, deformation.Deformation):
        image, mask = deformation.deform(image, mask, plan.place, crop, elastic=config.elastic > 0)
    else:
        image, mask = augment.warp(image, mask, plan.place, crop)
    image, mask = (augment.orient(values, plan.orientation) for values in (image, mask))
    if plan.degradation is None:
        return augment.change_colours(image, plan.colours), mask
    if config.blur:
        image = degradation.blurred(image, plan.degradation.blur, config.blur)
    noise = degradation.noise_of(plan.degradation, (crop, crop, 3)) if config.noise else None
    image = augment.change_colours(image, plan.colours, noise)
    return degradation.compressed(image, plan.degradation.quality) if config.jpeg else image, mask
