#!/bin/sh
# Names everything that the build needs and this machine lacks, in one line, before anything runs.
# usage: check_machine.sh PYTHON
python=$1
missing=""
add() { missing="${missing:+$missing, }$1"; }

if ! command -v "$python" >/dev/null 2>&1; then
  add "Python 3.10 to 3.13 (apt-get install python3 python3-venv)"
elif ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))'; then
  add "Python 3.10 to 3.13 ($python is $("$python" -c 'import platform; print(platform.python_version())'))"
elif ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
  add "Python's venv (apt-get install python3-venv)"
fi
if [ -n "${CXX:-}" ]; then
  command -v "${CXX%% *}" >/dev/null 2>&1 || add "the C++ compiler that CXX names ($CXX)"
elif ! command -v c++ >/dev/null 2>&1 && ! command -v g++ >/dev/null 2>&1 &&
  ! command -v clang++ >/dev/null 2>&1; then
  add "a C++17 compiler (apt-get install g++)"
fi
if [ -n "$missing" ]; then
  echo "fastdiff: missing on this machine: $missing" >&2
  exit 1
fi
if ! "$python" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))'; then
  echo "fastdiff: note: no Python.h (apt-get install python3-dev): fastdiff._native is left out" >&2
fi
