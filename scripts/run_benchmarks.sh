#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Measure everything that docs/performance.md reports; about an hour on two quiet cores.
#
#   scripts/run_benchmarks.sh VENV [name ...]
#
# Names are those of the files in docs/performance: compare, startup, hover,
# label_writes, scrolling, embedding_cache, tiled. Without names all are measured.
set -eu
venv=$1
shift
[ $# -gt 0 ] || set -- compare startup hover label_writes scrolling embedding_cache tiled
python=$venv/bin/python
out=docs/performance
mkdir -p "$out"

in_window() {
    if [ "$(uname -s)" = Linux ] && command -v xvfb-run >/dev/null 2>&1; then
        QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 1600x1200x24" "$python" "$@"
    else
        "$python" "$@"
    fi
}

for name in "$@"; do
    printf '\n== %s\n' "$name"
    case $name in
    compare | startup | scrolling | embedding_cache | tiled)
        "$python" "benchmarks/$name.py" --out "$out/$name.json" ;;
    hover | label_writes)
        in_window "benchmarks/$name.py" --out "$out/$name.json" ;;
    *) printf 'napari-sam: no benchmark %s\n' "$name" >&2 && exit 1 ;;
    esac
done
"$python" benchmarks/write_report.py
