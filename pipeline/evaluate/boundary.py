"""Boundary IoU: the IoU of what lies near the boundaries of each class, which tells fine outlines from coarse ones.

Cheng et al. 2021, "Boundary IoU: Improving object-centric image segmentation evaluation", section 4: the boundary of a
class consists of its pixels that are at most `boundary_distance` pixels away from a pixel that is not of the class, or
from beyond the image; the score is the intersection of the true and the predicted boundary over their union. As in the
authors' `mask_to_boundary`, which erodes a mask by a square of 3x3 pixels d times, a distance is the greater of that in
rows and in columns. Intersections and unions are exact counts, summed over a split as those of the IoU are.

Void neither counts nor makes a boundary: it is left out of both masks, so a prediction's pixels there change nothing,
and a boundary next to void begins where the nearest pixel of another class is near enough. The contours of PASCAL VOC's
masks are void, 5 pixels wide, and d is 12 in an image of 500x375: what counts there are the 7 pixels on both sides.
"""

import math

import numpy as np

from pipeline.data.image_files import read_index_mask
from pipeline.data.palette import VOID
from pipeline.data.voc import Example

DISTANCE_RATIO = 0.02  # of the image's diagonal, as in the paper's section 4.2 and the authors' code


def boundary_distance(height: int, width: int) -> int:
    """How far a boundary reaches into its class, in pixels: 2 % of the diagonal, rounded, at least 1."""
    return max(1, round(DISTANCE_RATIO * math.sqrt(height**2 + width**2)))


def boundary(labels: np.ndarray, distance: int) -> np.ndarray:
    """Whether each pixel belongs to the boundary of its class, (height, width) bool; void pixels do not.

    Of all classes at once: a pixel is in the boundary of its class if the labels around it are not all equal.

    Args:
        labels: (height, width) uint8 class indices, 255 where void.
        distance: see `boundary_distance`.
    """
    inside = np.zeros(labels.shape, bool)  # whether the image goes on for `distance` pixels in every direction
    inside[distance:-distance, distance:-distance] = True
    void = labels == VOID
    # Void takes part in neither: 255 never is the least label, and here it is not the greatest one.
    least = _least_around(labels, distance)
    greatest = ~_least_around(np.where(void, VOID, ~labels), distance)
    return ~void & ~(inside & (least == greatest))


def boundary_counts(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Pixels in both boundaries, and in either, of each class in one image, (2, classes) int64.

    Args:
        truth: (height, width) uint8 class indices, 255 where void.
        prediction: (height, width) uint8 class indices.
    """
    distance = boundary_distance(*truth.shape)
    scored = np.where(truth == VOID, np.uint8(VOID), prediction)
    near_true, near_predicted = boundary(truth, distance), boundary(scored, distance)

    def count(labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels, minlength=classes)

    intersection = count(truth[near_true & near_predicted & (truth == scored)])
    return np.stack([intersection, count(truth[near_true]) + count(scored[near_predicted]) - intersection])


class BoundaryCounter:
    """Sums the `boundary_counts` of predictions; an `pipeline.evaluate.evaluator.OnPrediction`."""

    def __init__(self, classes: int) -> None:
        self.counts = np.zeros((2, classes), np.int64)

    def __call__(self, example: Example, prediction: np.ndarray) -> None:
        """Add the counts of an example, whose mask is read from its file."""
        self.counts += boundary_counts(read_index_mask(example.mask), prediction, self.counts.shape[1])


def _least_around(labels: np.ndarray, distance: int) -> np.ndarray:
    """The least label at most `distance` rows and columns away from each pixel, (height, width) uint8.

    One axis after the other; the window's width is reached by doubling, in about log2(distance) steps.
    """
    for axis in (0, 1):
        padding = [(distance, distance) if axis == other else (0, 0) for other in (0, 1)]
        least = np.moveaxis(np.pad(labels, padding, constant_values=255), axis, 0)
        width, window = 1, 2 * distance + 1
        while width < window:  # least[i] is that of the `width` labels from i on
            step = min(width, window - width)
            least = np.minimum(least[:-step], least[step:])
            width += step
        labels = np.moveaxis(least, 0, axis)
    return labels
