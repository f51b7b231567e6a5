#!/bin/sh
# Set up what is missing: QGIS (apt, on Debian and Ubuntu), then .venv on QGIS's own Python. Safe to run again at any time.
#
# POSIX sh, since a bare machine has no Python yet. QGIS_PYTHON names QGIS's Python where it is not the system's.
set -u
cd "$(dirname "$0")/.." || exit 1

state=.setup
log=$state/log.txt
oldest_qgis=33400
oldest_torch=2.4
lists_are_read=

say() { echo "$*"; }
fail() { echo "$*" >&2; exit 1; }

# quietly "What is being done" COMMAND...: details go to the log, whose end is shown if the command fails.
quietly() {
    say "$1 ..."
    echo "== $1" >> "$log"
    shift
    "$@" >> "$log" 2>&1 < /dev/null || {
        tail -n 20 "$log" >&2
        fail "That failed; the whole log is in $log. Put it right and run make again: it goes on where it stopped."
    }
}

# --- Is everything there? This part must stay quick: make calls it every time.

python_says() { "$1" -c "$2" 2> /dev/null; }

fingerprint() {
    { cat tools/setup.sh tools/requirements*.txt; .venv/bin/python -c 'import sys; print(sys.version, sys.base_prefix)'; } | cksum
}

is_ready() {
    [ -x .venv/bin/python ] && command -v qgis_process > /dev/null && [ -f $state/stamp ] &&
        [ "$(fingerprint 2> /dev/null)" = "$(cat $state/stamp)" ]
}

is_ready && exit 0
mkdir -p $state || fail "This folder cannot be written: $PWD. Copy it to one that can."
if command -v flock > /dev/null; then # two makes at once: the second waits for the first
    exec 9> $state/lock
    flock 9
    is_ready && exit 0
fi
: > "$log"
say "Setting up GeoDL (once; a few minutes)."

# --- QGIS

qgis_python() {
    for python in ${QGIS_PYTHON:-} /usr/bin/python3 "$(command -v python3 || true)"; do
        [ -x "$python" ] || continue
        version=$(python_says "$python" 'import osgeo.gdal; from qgis.core import Qgis; print(Qgis.QGIS_VERSION_INT)')
        [ "${version:-0}" -ge $oldest_qgis ] && echo "$python" && return 0
    done
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -y -q -o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
        -o Dpkg::Use-Pty=0 "$@"
}

apt_install() { apt_get install --no-install-recommends "$@"; }

# newest PACKAGE: the newest version that apt offers, without the epoch
newest() { apt-cache madison "$1" 2> /dev/null | awk -F'|' '{gsub(/ /, "", $2); sub(/^[0-9]+:/, "", $2); print $2}' | sort -V | tail -n 1; }
at_least() { [ -n "$1" ] && [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

need_apt() {
    [ -x /usr/bin/apt-get ] || fail "GeoDL needs $1, and sets it up by itself only on Debian and Ubuntu. Install QGIS 3.34 or newer
with its Python and qgis_process (Fedora: sudo dnf install qgis python3-qgis; Arch: sudo pacman -S qgis; others: https://qgis.org/download),
and matplotlib, scipy and jinja2 for the same Python. Then run make again; QGIS_PYTHON=path names QGIS's Python if it is not found."
    [ "$(id -u)" = 0 ] || command -v sudo > /dev/null ||
        fail "GeoDL needs $1. Installing it takes an administrator: run make as root once, or install sudo."
    [ "$(id -u)" = 0 ] || say "GeoDL needs $1: sudo may ask for your password."
    [ -z "$lists_are_read" ] || return 0
    quietly "Completing earlier installations" as_root dpkg --configure -a
    quietly "Reading the package lists" apt_get update
    lists_are_read=yes
}

add_backports() {
    mirror=$(sh tools/debian_mirror.sh "$VERSION_CODENAME") ||
        fail "apt's sources name no mirror for $VERSION_CODENAME. Add $VERSION_CODENAME-backports to them, then run make again."
    say "Adding $VERSION_CODENAME-backports from $mirror to apt's sources (/etc/apt/sources.list.d/geodl-backports.list)."
    echo "deb $mirror $VERSION_CODENAME-backports main" | as_root tee /etc/apt/sources.list.d/geodl-backports.list > /dev/null
    quietly "Reading the package lists" apt_get update
}

install_qgis() {
    need_apt "QGIS 3.34 or newer"
    # shellcheck source=/dev/null
    . /etc/os-release
    release=
    if ! at_least "$(newest qgis)" 3.34 && [ "${ID:-}${VERSION_ID:-}" = debian12 ]; then add_backports; fi
    offered=$(newest qgis)
    at_least "$offered" 3.34 || fail "GeoDL needs QGIS 3.34 or newer, but apt offers ${offered:-none} on ${PRETTY_NAME:-this system}.
Add QGIS's own packages (https://qgis.org/resources/installation-guide) or take Debian 12, Ubuntu 24.04 or newer; then run make again."
    case $offered in *bpo*) release="-t $VERSION_CODENAME-backports" ;; esac
    # shellcheck disable=SC2086 # two words or none
    quietly "Installing QGIS $offered with apt (about 2 GB)" apt_install $release qgis python3-qgis qgis-providers
}

python=$(qgis_python) && command -v qgis_process > /dev/null || {
    install_qgis
    python=$(qgis_python) || fail "QGIS was installed, but no Python imports it. QGIS_PYTHON=path names its Python."
}

# --- What else is the system's: numpy stays the one that GDAL was built for, so these come from the same source.

has_basics() {
    python_says "$python" 'import ensurepip, scipy, jinja2, matplotlib, matplotlib.cbook as c
c.get_sample_data("jacksboro_fault_dem.npz", asfileobj=False); open(c.get_sample_data("jacksboro_fault_dem.npz", asfileobj=False))' &&
        [ -n "$(find /usr/share/fonts "$HOME/.fonts" -name '*.ttf' 2> /dev/null | head -n 1)" ]
}
if ! has_basics && [ "$python" = /usr/bin/python3 ]; then
    need_apt "scipy, matplotlib and their like"
    quietly "Installing scipy, matplotlib and fonts with apt" apt_install python3-venv python3-numpy python3-scipy \
        python3-gdal python3-matplotlib python-matplotlib-data python3-jinja2 fonts-dejavu-core
fi

# --- PyTorch from the system, where it offers one that is new enough: its build for CPUs spares gigabytes.

has_torch() { python_says "$python" "import torch; v = torch.__version__.split('.'); assert (int(v[0]), int(v[1])) >= (2, 4)"; }
if ! has_torch && [ "$python" = /usr/bin/python3 ] && [ -x /usr/bin/apt-get ] && at_least "$(newest python3-torch)" $oldest_torch; then
    if [ "$(id -u)" = 0 ] || command -v sudo > /dev/null; then
        quietly "Installing PyTorch $(newest python3-torch) with apt" apt_install python3-torch
    fi
fi

# --- The virtual environment

if [ "$(python_says .venv/bin/python 'import sys; print(sys.version)')" != "$(python_says "$python" 'import sys; print(sys.version)')" ]; then
    quietly "Making .venv on $python" "$python" -m venv --clear --system-site-packages .venv
fi
python_says "$python" 'import numpy, scipy; print(f"numpy=={numpy.__version__}\nscipy=={scipy.__version__}")' > $state/constraints.txt ||
    fail "QGIS's Python ($python) has no scipy. Install scipy for it, then run make again."

pip_install() { .venv/bin/python -m pip install --disable-pip-version-check --retries 5 -c $state/constraints.txt "$@"; }
has_torch || quietly "Installing PyTorch with pip (the longest step)" pip_install -r tools/requirements-torch.txt
quietly "Installing scikit-learn, pytest and others with pip" pip_install -r tools/requirements.txt \
    -r tools/requirements-magnetics.txt -r tools/requirements-cluster.txt \
    -r tools/requirements-onnx.txt -r tools/requirements-tuning.txt -r tools/requirements-statistics.txt -r tools/requirements-dev.txt

quietly "Checking that all of it loads" .venv/bin/python -c '
import jinja2, matplotlib, numpy, osgeo.gdal_array, pytest, qgis.core, safetensors, scipy, sklearn, torch
print("torch", torch.__version__, "numpy", numpy.__version__, "scikit-learn", sklearn.__version__)'
fingerprint > $state/stamp
say "GeoDL is set up: $(tail -n 1 "$log")."
