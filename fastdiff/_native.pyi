from collections.abc import Callable
from os import PathLike
from typing import Literal, TypedDict, type_check_only

import numpy as np
from numpy.typing import NDArray

@type_check_only
class BuildInfo(TypedDict):
    compiler: str
    cuda: str | None
    isas: list[str]

version: str

def isa() -> str: ...
def isas() -> list[str]: ...
def threads() -> int: ...
def cuda_status() -> str | None: ...
def build_info() -> BuildInfo: ...
def noise_words(
    seeds: NDArray[np.uint64],  # [n]
    step: int | NDArray[np.uint32],  # or [n]
    stream: int,
    count: int,
    first_element: int = 0,
    threads: int = 0,
) -> NDArray[np.uint32]: ...  # [n, count]
def noise_uniform(
    seeds: NDArray[np.uint64],
    step: int | NDArray[np.uint32],
    stream: int,
    count: int,
    first_element: int = 0,
    threads: int = 0,
) -> NDArray[np.float32]: ...
def noise_normal(
    seeds: NDArray[np.uint64],
    step: int | NDArray[np.uint32],
    stream: int,
    count: int,
    first_element: int = 0,
    threads: int = 0,
) -> NDArray[np.float32]: ...
def philox4x32_10(
    counter: NDArray[np.uint32],  # [m, 4]
    key: NDArray[np.uint32],  # [m, 2]
) -> NDArray[np.uint32]: ...  # [m, 4]

# The arguments ending in _ptr are addresses on the current CUDA device: seeds uint64 [n], steps
# uint32 [n] (0: step 0 for every row), out uint32 or float32 [n, count]. cuda_stream: a
# cudaStream_t, 0 the default one. ValueError: a wrong argument. RuntimeError: CUDA's reason.
def cuda_noise_words(
    seeds_ptr: int,
    steps_ptr: int,
    n: int,
    stream: int,
    count: int,
    first_element: int,
    out_ptr: int,
    cuda_stream: int,
) -> None: ...
def cuda_noise_uniform(
    seeds_ptr: int,
    steps_ptr: int,
    n: int,
    stream: int,
    count: int,
    first_element: int,
    out_ptr: int,
    cuda_stream: int,
) -> None: ...
def cuda_noise_normal(
    seeds_ptr: int,
    steps_ptr: int,
    n: int,
    stream: int,
    count: int,
    first_element: int,
    out_ptr: int,
    cuda_stream: int,
) -> None: ...

# x and x0 after a row, copied; RuntimeError once the callback that was given it has returned.
class RowView:
    def x(self) -> NDArray[np.float32]: ...  # [n, C, H, W]
    def x0(self) -> NDArray[np.float32]: ...  # ValueError where has_x0 is False
    @property
    def has_x0(self) -> bool: ...

# An engine file, planned for this machine. ValueError: a wrong argument, or a file that cannot be
# read. Functions may raise: the call ends and raises the same.
class Engine:
    def __init__(
        self,
        file: bytes | str | PathLike[str],  # its content, or where it is
        threads: int = 0,
        precision: str = "float32",  # or "bf16"
        exact: bool = False,
        autotune: bool = True,
        cache_dir: str = "",
        progress: Callable[[int, int], object] | None = None,
    ) -> None: ...
    def sample(
        self,
        table: NDArray[np.float64],  # [rows, 19]
        init_scale: float,
        seeds: NDArray[np.uint64],  # [n]
        context: NDArray[np.float32] | None = None,  # [n, context_width]
        guidance: NDArray[np.float32] | None = None,  # [n]
        guidance_rescale: NDArray[np.float32] | None = None,  # [n]
        guided_rows: int | None = None,
        x_T: NDArray[np.float32] | None = None,  # [n, C, H, W]
        image: NDArray[np.float32] | None = None,  # [n, C, H, W]
        from_image: bool = False,
        mask: NDArray[np.float32] | None = None,  # [n, 1, H, W]
        after_row: Callable[[int, RowView], object] | None = None,  # False stops
    ) -> tuple[NDArray[np.float32], int]: ...  # x [n, C, H, W], not clipped, and the rows done
    def predict(
        self,
        x: NDArray[np.float32],  # [n, C, H, W]
        times: NDArray[np.float32],  # [n]
        context: NDArray[np.float32] | None = None,  # [n, context_width]
    ) -> NDArray[np.float32]: ...  # [n, C, H, W]
    def describe(self, batch: int = 1) -> str: ...
    def profile(
        self, batch: int = 1, repeats: int = 20
    ) -> list[tuple[str, str, float, float]]: ...  # what, module, seconds and FLOPs a sample
    @property
    def name(self) -> str: ...
    @property
    def sample_shape(self) -> tuple[int, int, int]: ...
    @property
    def context_width(self) -> int: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def table(self) -> NDArray[np.float64]: ...  # a copy
    @property
    def table_name(self) -> str: ...
    @property
    def init_scale(self) -> float: ...
    @property
    def to_noise(self) -> bool: ...
    @property
    def schedule(self) -> str: ...  # JSON
    @property
    def threads(self) -> int: ...

# An autoregressive model's engine file, planned for this machine. Errors as Engine's.
class PixelEngine:
    def __init__(
        self,
        file: bytes | str | PathLike[str],
        threads: int = 0,
        precision: str = "float32",
        autotune: bool = True,
        cache_dir: str = "",
        progress: Callable[[int, int], object] | None = None,
    ) -> None: ...
    def sample(
        self,
        seeds: NDArray[np.uint64],  # [n]
        context: NDArray[np.float32] | None = None,  # [n, context_width]
        temperature: float = 1.0,
        top_k: int | None = None,
        given: NDArray[np.int32] | None = None,  # [n, C, H, W], -1: drawn
        on_progress: Callable[[int, int], object] | None = None,  # False stops
        slope: int | None = None,
    ) -> tuple[NDArray[np.int32], int]: ...  # levels [n, C, H, W], and how many are there
    def log_probabilities(
        self,
        levels: NDArray[np.int32],  # [n, C, H, W]
        context: NDArray[np.float32] | None = None,  # [n, context_width]
        on_progress: Callable[[int, int], object] | None = None,
    ) -> NDArray[np.float32]: ...  # ln p, [n, C, H, W]
    def describe(self, batch: int = 1) -> str: ...
    def map_bytes(self, batch: int = 1) -> float: ...
    @property
    def slope(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def sample_shape(self) -> tuple[int, int, int]: ...
    @property
    def levels(self) -> int: ...
    @property
    def context_width(self) -> int: ...
    @property
    def labels(self) -> tuple[str, ...]: ...
    @property
    def threads(self) -> int: ...

# All rows of a table for one launch. step and start: torch.cuda.CUDAGraph(keep_graph=True)
# .raw_cuda_graph(). The others but batch and elements are addresses on one CUDA device: rows int32
# [batch], count int32 [1], x and x0 float32 [batch, elements], previews and x0_previews float32
# [slots, batch, elements], schedule int32 [at least count], a slot or -1 for each row. stream: a
# cudaStream_t. The caller keeps tensors and captured graphs alive until close. ValueError: a wrong
# argument, graphs that the mode cannot hold, CUDA not usable. RuntimeError: the driver's reason.
class GraphLoop:
    def __init__(
        self,
        step: int,
        start: int | None,
        rows: int,
        batch: int,
        count: int,
        x: int,
        elements: int,
        x0: int | None = None,
        previews: int | None = None,
        x0_previews: int | None = None,
        schedule: int | None = None,
        mode: Literal["auto", "while", "launches"] = "auto",
    ) -> None: ...
    def launch(self, stream: int) -> None: ...  # "while": at once; waits for a launch before it
    def wait(self, stream: int) -> None: ...  # for the stream and the last launch
    def cancel(self) -> None: ...  # the last launch ends after the row that runs
    def close(self) -> None: ...  # waits for the last launch; twice does no harm
    @property
    def rows_done(self) -> int: ...  # of the last launch, also while it runs
    @property
    def mode(self) -> Literal["while", "launches"]: ...
    @property
    def node_count(self) -> int: ...

def load_engine(
    file: bytes | str | PathLike[str],
    threads: int = 0,
    precision: str = "float32",
    exact: bool = False,
    autotune: bool = True,
    cache_dir: str = "",
    progress: Callable[[int, int], object] | None = None,
) -> Engine | PixelEngine: ...
