#!/usr/bin/env bash
# Label a DEM with the ten geomorphons (Jasiewicz & Stepinski 2013, doi:10.1016/j.geomorph.2012.11.005) by GRASS's r.geomorphon.
#
#   tools/make_geomorphons.sh DEM.tif OUTPUT.tif [SEARCH_PIXELS=15] [SKIP_PIXELS=3] [FLAT_DEGREES=1]
#
# The DEM must be in a projected CRS with square pixels. Needs GRASS 8 (apt-get install --no-install-recommends grass-core).
# tests/data/jacksboro_geomorphon_L15.tif was made with GRASS 8.2.1 and the defaults from what tools/jacksboro_dem.py writes.
set -euo pipefail
dem=$(realpath "$1")
output=$(realpath -m "$2")
search=${3:-15} skip=${4:-3} flat=${5:-1}
here=$(dirname "$(realpath "$0")")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

grass --tmp-location "$dem" --exec bash -c "
    r.in.gdal --q -o input='$dem' output=dem &&
    g.region raster=dem &&
    r.geomorphon --q elevation=dem forms=forms search=$search skip=$skip flat=$flat &&
    r.out.gdal --q -f input=forms output='$folder/forms.tif' type=Byte nodata=0"
"${PYTHON:-python3}" "$here/name_geomorphons.py" "$folder/forms.tif" "$output"
