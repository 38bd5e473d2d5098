"""The contestants of ``native.py``: who they are, what they need, and which module runs each.

A module has ``calls(task)``: calls by the setting that they try, the fastest of which is the
contestant. A call does one whole piece of work and returns its float32 output, or something that
NumPy takes as one.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]
Calls = dict[str, Callable[[], object]]

MODEL = "sprites16"
MATMUL_FLOPS = 2 * 1024**3  # of a call of the rooflines
ROWS = 25  # of the DDIM table that whole runs walk
PINS = "-c constraints.txt"


@dataclass(frozen=True)
class Contestant:
    """``kind``: ours, peer, or roofline. ``module``: of this package. ``needs``: imports."""

    name: str
    precision: str  # float32 or bfloat16
    kind: str
    module: str
    needs: tuple[str, ...] = ("torch",)

    def missing(self) -> str | None:
        """What to install before this can run; None when all is there."""
        lacks = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"pip install {PINS} {' '.join(lacks)}" if lacks else None

    def calls(self, task: Task) -> Calls:
        """The module's calls for this task."""
        found: Calls = importlib.import_module(f"peers.{self.module}").calls(task, self)
        return found


@dataclass(frozen=True)
class Task:
    """One size of a suite. ``folder``: what ``reference.py`` wrote. ``threads``: to be used."""

    suite: str  # "step", "ddpm": one network evaluation; "whole": a run of ROWS rows
    batch: int
    folder: Path
    threads: int

    def arrays(self) -> dict[str, Float32Array]:
        """A step's x [n, C, H, W], times [n] and, where there is one, context [n, width]."""
        with np.load(self.folder / f"{self.suite}-{self.batch}.npz") as file:
            return {name: file[name] for name in ("x", "times", "context") if name in file}

    def wanted(self) -> npt.NDArray[np.float64]:
        """What float64 answers, [n, C, H, W]."""
        with np.load(self.folder / f"{self.suite}-{self.batch}.npz") as file:
            return np.asarray(file["wanted"], np.float64)

    def onnx(self) -> Path:
        """The network with this batch, as an ONNX file."""
        return self.folder / f"{self.suite}-{self.batch}.onnx"


F32, BF16 = "float32", "bfloat16"
ORT = ("onnxruntime", "torch", "onnx", "onnxscript")  # torch and the others write the file
VINO = ("openvino", "torch", "onnx", "onnxscript")
STEP = (
    Contestant("native float32", F32, "ours", "native"),
    Contestant("native bf16", BF16, "ours", "native"),
    Contestant("eager float32", F32, "peer", "torch_eager"),
    Contestant("eager channels_last float32", F32, "peer", "torch_eager"),
    Contestant("eager channels_last bf16", BF16, "peer", "torch_eager"),
    Contestant("torch.compile float32", F32, "peer", "torch_compiled"),
    Contestant("torch.compile bf16", BF16, "peer", "torch_compiled"),
    Contestant("ONNX Runtime float32", F32, "peer", "onnx_runtime", ORT),
    Contestant("OpenVINO float32", F32, "peer", "open_vino", VINO),
    Contestant("OpenVINO bf16", BF16, "peer", "open_vino", VINO),
    Contestant("matrix product float32", F32, "roofline", "matmul"),
    Contestant("matrix product bf16", BF16, "roofline", "matmul"),
)
WHOLE = (
    Contestant("native float32", F32, "ours", "native"),
    Contestant("native bf16", BF16, "ours", "native"),
    Contestant("eager loop float32", F32, "peer", "torch_eager"),
    Contestant("eager loop bf16", BF16, "peer", "torch_eager"),
)
SUITES = {"step": (STEP, (1, 8, 32, 128)), "whole": (WHOLE, (1, 32)), "ddpm": (STEP, (1, 8))}


def model_name(suite: str) -> str:
    """Of the network that a suite runs."""
    return "DDPM U-Net, 35.7 M, 32x32" if suite == "ddpm" else MODEL


def load_model(suite: str = "step") -> Any:
    """The packaged model; for "ddpm" Ho et al.'s U-Net for CIFAR-10 with random weights."""
    from fastdiff.checkpoint import load

    if suite != "ddpm":
        return load(MODEL)
    import torch

    from fastdiff import DiffusionModel, schedules
    from fastdiff.models.ddpm_unet import DDPMUnet

    torch.manual_seed(0)
    module = DDPMUnet().eval()
    return DiffusionModel(module, schedules.linear(), (3, 32, 32), name="ddpm-cifar10-32")
