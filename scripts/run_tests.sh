#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run pytest on a display of its own where there is one to be had.
#
#   scripts/run_tests.sh VENV [pytest arguments]
set -eu
venv=$1
shift

# The whole suite on several cores; a selection starts sooner without.
if [ $# -eq 0 ]; then
    cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
    [ "$cores" -le 4 ] || cores=4
    [ "$cores" -lt 2 ] || set -- -n "$cores" --dist loadfile
fi

if [ "$(uname -s)" = Linux ] && [ -z "${QT_QPA_PLATFORM:-}" ] &&
    sh "$(dirname "$0")/system_packages.sh" "$venv" check; then
    QT_QPA_PLATFORM=xcb
    export QT_QPA_PLATFORM
    exec xvfb-run -a -s "-screen 0 1600x1200x24" "$venv/bin/python" -m pytest "$@"
fi
exec "$venv/bin/python" -m pytest "$@"
