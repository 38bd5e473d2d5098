#!/bin/sh
# check_no_weak_symbols.sh NM OBJECT...: fails where an object defines a weak symbol, or anything
# global but the one kernel table it's there for.
set -eu
nm=$1
shift
[ $# -gt 0 ] || { echo "no objects given"; exit 1; }
status=0
for object in "$@"; do
  symbols=$("$nm" -C --defined-only --extern-only "$object")
  extra=$(echo "$symbols" | grep -v ' [RD] fd::k[A-Za-z0-9]*$' || true)
  if [ -n "$extra" ] || [ -z "$symbols" ]; then
    echo "$object defines more than its kernel table: ${extra:-nothing at all}"
    status=1
  fi
done
exit $status
