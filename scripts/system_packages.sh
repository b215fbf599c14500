#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# System libraries that Qt needs on Linux, a display that needs no screen, and a browser
# for the tests that open a report in it.
#
#   scripts/system_packages.sh VENV check      exit 0 if Qt can draw under Xvfb
#   scripts/system_packages.sh VENV install    install what is missing, or name it
#
# Without a browser nothing fails: its tests are skipped.
set -eu
venv=$1
action=$2
packages="xvfb xauth libgl1 libegl1 libgl1-mesa-dri libglx-mesa0 libglib2.0-0
libdbus-1-3 libfontconfig1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4
libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0
libxcb-util1 libxcb-xinerama0 libxcb-xkb1"
# shellcheck disable=SC2086
packages=$(printf "%s " $packages)

[ "$(uname -s)" = Linux ] || exit 0

plugin() {
    find "$venv"/lib/python*/site-packages -name "libq$1.so" -path '*platforms*'
}

# Libraries that a platform plugin of Qt, or anything below it, asks for in vain.
missing_libraries() {
    plugin "$1" | xargs -r ldd 2>/dev/null | awk '/not found/ {print $1}' | sort -u
}

can_draw() {
    command -v xvfb-run >/dev/null 2>&1 && command -v xauth >/dev/null 2>&1 &&
        [ -n "$(plugin xcb)" ] && [ -z "$(missing_libraries xcb)" ]
}

has_browser() {
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null 2>&1 && return 0
    done
    return 1
}

get() {
    DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null || true
}

if [ "$action" = check ]; then
    can_draw
    exit
fi

can_draw && has_browser && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    printf 'napari-sam: installing system packages for Qt and tests with apt-get\n'
    apt-get update -qq || true
    # shellcheck disable=SC2086
    can_draw || get $packages
    has_browser || get chromium
fi
has_browser ||
    printf 'napari-sam: no Chromium; tests that open a report in a browser are skipped.\n'
can_draw && exit 0

missing=$(missing_libraries offscreen | tr '\n' ' ')
if [ -n "$missing" ]; then
    printf 'napari-sam: Qt cannot start without %s\n' "$missing" >&2
    printf 'On Debian and Ubuntu: sudo apt-get install %s\n' "$packages" >&2
    exit 1
fi
printf 'napari-sam: no Xvfb, or not all of what Qt needs to draw in it. Tests that look\n'
printf 'at pixels are skipped. To run them too, on Debian and Ubuntu:\n'
printf '  sudo apt-get install %s\n' "$packages"
