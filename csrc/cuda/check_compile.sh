#!/bin/sh
# nvcc compile check: every .cu for sm_80, sm_90 and to PTX (compute_90), all warnings as errors,
# apart from the build and with no GPU. NVCC names another compiler.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
nvcc=${NVCC:-nvcc}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

set -- -std=c++17 -O3 --Werror all-warnings --ftz=false --prec-div=true --prec-sqrt=true \
  -Xcompiler=-Wall,-Wextra,-Wshadow,-Werror -I"$here/.."
for source in "$here"/*.cu; do
  name=$(basename "$source" .cu)
  "$nvcc" "$@" -arch=sm_80 -cubin -o "$out/$name.80.cubin" "$source"
  "$nvcc" "$@" -arch=sm_90 -cubin -o "$out/$name.90.cubin" "$source"
  "$nvcc" "$@" -arch=compute_90 -ptx -o "$out/$name.ptx" "$source"
  # The host half too: -cubin and -ptx stop before it.
  "$nvcc" "$@" -arch=sm_90 -c -o "$out/$name.o" "$source"
  echo "ok: $name.cu (sm_80, sm_90, PTX compute_90, host)"
done
