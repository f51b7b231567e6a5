"""Install the plugin that package.py builds into a QGIS profile, and enable it."""

import argparse
import os
import shutil
import sys
import zipfile
from pathlib import Path

import package


def default_profile() -> Path:
    """Return the folder of the user's default QGIS 3 profile, where QGIS itself looks for it."""
    if custom := os.environ.get("QGIS_CUSTOM_CONFIG_PATH"):
        base = Path(custom)
    elif sys.platform == "win32":
        base = Path(os.environ["APPDATA"], "QGIS", "QGIS3")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support" / "QGIS" / "QGIS3"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share", "QGIS", "QGIS3")
    return base / "profiles" / "default"


def install(archive: Path, profile: Path) -> Path:
    """Unpack the ZIP into the profile in place of an older version, enable the plugin, and return its folder."""
    plugins = profile / "python" / "plugins"
    target = plugins / package.PLUGIN
    fresh = plugins / f".{package.PLUGIN}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    with zipfile.ZipFile(archive) as file:
        for entry in file.infolist():
            path = fresh / Path(entry.filename).relative_to(package.PLUGIN)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.read(entry))
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    enable(profile)
    return target


def enable(profile: Path) -> None:
    """Switch the plugin on in the profile's QGIS3.ini, leaving all else in it as it is."""
    ini = profile / "QGIS" / "QGIS3.ini"
    if sys.platform == "darwin":
        ini = profile / "qgis.org" / "QGIS3.ini"
    ini.parent.mkdir(parents=True, exist_ok=True)
    lines = ini.read_text(encoding="utf-8").splitlines() if ini.exists() else []
    switch = f"{package.PLUGIN}=true"
    lines = [line for line in lines if line.partition("=")[0].strip() != package.PLUGIN]
    if "[PythonPlugins]" in lines:
        lines.insert(lines.index("[PythonPlugins]") + 1, switch)
    else:
        lines += ["[PythonPlugins]", switch]
    ini.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Build, install, say where."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", type=Path, default=None, help="a QGIS profile's folder; else your default one")
    options = parser.parse_args()
    try:
        target = install(package.build(package.ROOT / "dist"), options.profile or default_profile())
    except package.PackageError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"GeoDL {package.version()} is installed in {target} and enabled. Restart QGIS if it is open.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
