"""Builds fastdiff._native with CMake and ninja; everything else about the package is in
pyproject.toml.

Environment variables:
  FASTDIFF_NATIVE  auto (default): build the module where a C++ compiler and Python's headers are
                   there, else leave it out with a warning; on: that is an error; off: leave it out
  FASTDIFF_CUDA    auto (default): with CUDA where nvcc is found; on; off
  FASTDIFF_WERROR  1: compiler warnings are errors
  CMAKE_BUILD_PARALLEL_LEVEL   the number of compilers at once
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent


def option(name: str, default: str, allowed: tuple[str, ...]) -> str:
    """The value of an environment variable, or the end of the build where it's not allowed."""
    value = os.environ.get(name) or default
    if value not in allowed:
        sys.exit(f"{name}: expected {', '.join(allowed)}, got {value!r}")
    return value


def version() -> str:
    """The version, from the one place that holds it."""
    text = (ROOT / "fastdiff" / "_version.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"', text, re.MULTILINE)
    if match is None:
        sys.exit('fastdiff/_version.py: expected a line __version__ = "..."')
    return match.group(1)


def what_is_missing() -> str | None:
    """What stops the native module from being built here and how to get it; None: nothing."""
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's headers were not found (Debian: python3-dev)"
    if not any(shutil.which(name) for name in (os.environ.get("CXX", "c++"), "g++", "clang++")):
        return "no C++ compiler was found (Debian: g++)"
    return None


def wants_native() -> bool:
    """Whether to build the native module, by FASTDIFF_NATIVE and what is installed."""
    choice = option("FASTDIFF_NATIVE", "auto", ("auto", "on", "off"))
    if choice == "off":
        return False
    missing = what_is_missing()
    if missing and choice == "on":
        sys.exit(f"FASTDIFF_NATIVE=on, but {missing}")
    if missing:
        print(f"fastdiff: warning: fastdiff._native is left out: {missing}", file=sys.stderr)
    return missing is None


def program(name: str) -> str:
    """The path of cmake or ninja, which the build requirements bring from PyPI."""
    path = shutil.which(name)
    if path is None:
        sys.exit(f"{name} was not found: pip install {name}")
    return path


def pybind11_folder() -> str:
    """The folder of pybind11's CMake package. Asked of a process of its own: this file also runs
    where only metadata is wanted and the build requirements are not installed."""
    command = [sys.executable, "-m", "pybind11", "--cmakedir"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


class CMakeBuild(build_ext):
    """Runs CMake in build/, which stays: the next build compiles only what has changed."""

    def build_extension(self, ext: Extension) -> None:
        """Configures, builds the one target, and puts the module where setuptools wants it."""
        folder = ROOT / "build" / f"native-{sys.implementation.cache_tag}-{self.plat_name}"
        folder.mkdir(parents=True, exist_ok=True)
        cmake = program("cmake")
        # Paths are given anew each time: pip's isolated builds put them in another place each time.
        settings = {
            "CMAKE_BUILD_TYPE": "Debug" if self.debug else "Release",
            "CMAKE_MAKE_PROGRAM": program("ninja"),
            "FASTDIFF_CUDA": option("FASTDIFF_CUDA", "auto", ("auto", "on", "off")),
            "FASTDIFF_PYTHON": "ON",
            "FASTDIFF_TESTS": "OFF",
            "FASTDIFF_VERSION": version(),
            "FASTDIFF_WERROR": option("FASTDIFF_WERROR", "0", ("0", "1")),
            "Python_EXECUTABLE": sys.executable,
            "pybind11_DIR": pybind11_folder(),
        }
        configure = [cmake, "-S", str(ROOT / "csrc"), "-B", str(folder), "-G", "Ninja"]
        subprocess.run(configure + [f"-D{k}={v}" for k, v in settings.items()], check=True)
        subprocess.run([cmake, "--build", str(folder), "--target", "_native"], check=True)

        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        # Copied aside and renamed: a Python that has the old file loaded keeps it.
        fresh = target.with_name(target.name + ".new")
        shutil.copy2(folder / target.name, fresh)
        fresh.replace(target)


setup(
    ext_modules=[Extension("fastdiff._native", sources=[])] if wants_native() else [],
    cmdclass={"build_ext": CMakeBuild},
)
