"""Batch sizes that are captured: a request in between is padded to the next one."""

from __future__ import annotations

# Least capacity of the tables: 1,000 rows are DDPM's own.
MIN_ROWS = 1024


def bucket_of(n: int) -> int:
    """The least of 1, 2, 3, 4, 6, 8, 12, 16, 24, ... (2^k and 3 * 2^k) that holds ``n`` samples.

    At most a third of a padded batch is padding.
    """
    power = 1
    while power < n:
        power *= 2
    middle = power // 4 * 3
    return middle if middle >= n else power


def capacity_of(rows: int) -> int:
    """Rows of the device's table for a table of ``rows``: the next power of two from 1,024."""
    capacity = MIN_ROWS
    while capacity < rows:
        capacity *= 2
    return capacity
