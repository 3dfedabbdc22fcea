"""What the machine can do at most: matrix products a second in a precision, and bare JPEG decoding."""

import tensorflow as tf

from tests.benchmarks.contenders.repeats import serve, settings

wanted = settings()
tf.config.threading.set_intra_op_parallelism_threads(wanted["threads"])
tf.config.threading.set_inter_op_parallelism_threads(wanted["threads"])

if "precision" in wanted:
    SIDE, TIMES = 3072, 2
    one, other = (tf.cast(tf.random.stateless_uniform((SIDE, SIDE), (0, part)), wanted["precision"]) for part in (0, 1))

    def work() -> float:
        """In GFLOP."""
        for _ in range(TIMES):
            (one @ other).numpy()
        return TIMES * 2 * SIDE**3 / 1e9
else:
    images = tf.data.Dataset.from_tensor_slices(wanted["images"]).map(
        lambda path: tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method="INTEGER_ACCURATE"),
        num_parallel_calls=wanted["threads"],
    )

    def work() -> float:
        """In images."""
        return sum(1 for _ in images)


serve(work)
