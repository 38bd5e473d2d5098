from typing import TypedDict, type_check_only

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
