#!/bin/sh
# Run a command without a window and in a QGIS profile of its own, which is removed after: headless.sh COMMAND...
home=$(mktemp -d "${TMPDIR:-/tmp}/geodl-home-XXXXXX") || exit 1
trap 'rm -rf "$home"' EXIT
trap 'exit 130' INT TERM
mkdir -m 700 "$home/runtime"
export QT_QPA_PLATFORM=offscreen QGIS_CUSTOM_CONFIG_PATH="$home/qgis" MPLCONFIGDIR="$home/matplotlib"
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$home/runtime}"
"$@"
