"""Seeds for every random choice: each depends on the run's seed and on its purpose, and on nothing else."""

import hashlib


def derive_seed(seed: int, *purpose: str | int) -> int:
    """A 31-bit seed that is a pure function of the run's seed and of a purpose, such as ("dropout", "bottom").

    SHA-256 makes the seeds of different purposes unrelated, whatever the numbers are.
    """
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") >> 1
