#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Make or refresh a virtual environment and install the package into it, editable.
#
#   scripts/setup_env.sh PYTHON VENV run|app|test|bench|lint|dev
#
# run: the package; app: napari with Qt; test, lint, dev: the groups of that name; bench:
# test, and the reference implementations without what they depend on.
# Where packages come from is pip's own configuration; versions are constraints.txt's.
set -eu
python=$1
venv=$2
kind=$3

fail() {
    printf 'napari-sam: %s\n' "$*" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "no command '$python'; name your Python: make PYTHON=/path/to/python3.12"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old, Python 3.11 or newer is needed:" \
        "make PYTHON=/path/to/python3.12"

make_venv() {
    "$python" -m venv "$venv" >"$log" 2>&1
}

if [ ! -x "$venv/bin/pip" ]; then
    printf 'napari-sam: making the environment %s\n' "$venv"
    log=$(mktemp)
    if ! make_venv; then
        # Debian and Ubuntu keep a part of Python's venv module in a package of its own.
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
            apt-get update -qq || true
            apt-get install -y -qq --no-install-recommends python3-venv || true
            make_venv || { cat "$log" >&2; fail "cannot make $venv"; }
        else
            cat "$log" >&2
            fail "cannot make $venv; on Debian and Ubuntu: sudo apt-get install python3-venv"
        fi
    fi
    rm -f "$log"
fi

case $kind in
run) set -- -e . ;;
app) set -- -e '.[all]' ;;
test | bench) set -- -e . --group test ;;
lint) set -- -e . --group test --group lint ;;
dev) set -- -e '.[train]' --group dev ;;
*) fail "unknown environment '$kind'; known: run, app, test, bench, lint, dev" ;;
esac

printf 'napari-sam: installing (%s); the first time takes some minutes\n' "$kind"
# Progress for a person, errors only for a log.
quiet=
[ -t 1 ] || quiet=-qq
pip_install() {
    # shellcheck disable=SC2086
    "$venv/bin/python" -m pip --disable-pip-version-check install $quiet "$@"
}
# Dependency groups came with pip 25.1.
pip_install --upgrade 'pip>=25.1'
pip_install --constraint constraints.txt "$@"

# benchmarks/peers.py stands in for torchvision and timm.
[ "$kind" != bench ] ||
    pip_install --no-deps segment-anything==1.0 mobilesam-mirror==1.0.0

# Each kind contains the smaller ones.
case $kind in
bench) touch "$venv/.ready-test" ;;
lint) touch "$venv/.ready-test" ;;
dev) touch "$venv/.ready-test" "$venv/.ready-lint" ;;
esac
touch "$venv/.ready-run" "$venv/.ready-$kind"
