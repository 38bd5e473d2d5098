"""A run's log: a CSV file with a row every so many steps, which a resumed run goes on with."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path


class Log:
    """Rows that begin with ``step``, in the file at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, step: int, figures: Mapping[str, str]) -> None:
        """Appends a row; the first one brings the head with it, new figures get a new column."""
        row, head, rows = {"step": str(step), **figures}, [], []
        if self.path.exists():
            with self.path.open(newline="") as file:
                reader = csv.DictReader(file)
                rows, head = list(reader), list(reader.fieldnames or ())
        whole = head + [name for name in row if name not in head]
        with self.path.open("a" if whole == head else "w", newline="") as file:
            writer = csv.DictWriter(file, whole, restval="")
            if whole != head:
                writer.writeheader()
                writer.writerows(rows)
            writer.writerow(row)

    def forget_beyond(self, step: int) -> None:
        """Drops what a killed run logged after its last save: those steps run again."""
        if self.path.exists():
            head, *rows = self.path.read_text().splitlines()
            kept = [row for row in rows if int(row.split(",")[0]) <= step]
            self.path.write_text("\n".join([head, *kept]) + "\n")
