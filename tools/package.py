"""Build the plugin's ZIP: dist/geodl_qgis_plugin-<version>.zip, the same bytes from the same files.

Needs nothing but Python, on any system. Refuses what the plugin repository would refuse.
"""

import configparser
import re
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = "geodl_qgis_plugin"
LARGEST_BYTES = 25 * 1024 * 1024
LEFT_OUT = {"__pycache__"}
SUFFIXES_LEFT_OUT = {".pyc", ".pyo", ".part", ".orig"}
EARLIEST = (1980, 1, 1, 0, 0, 0)  # ZIP knows no earlier time; a fixed one makes the bytes the same every time
FORBIDDEN = {
    r"(?<![\w.])eval\(": "eval",
    r"(?<![\w.])exec\(": "exec",
    r"\b(?:import|from) c?pickle\b": "pickle",
    r"\bpickle\.loads?\(": "pickle",
    r"\bshell\s*=\s*True\b": "shell=True",
    r"\.extractall\(": "extractall",
    r"\byaml\.load\(": "yaml.load",
    r"\bos\.system\(": "os.system",
}


class PackageError(Exception):
    """The plugin cannot be packaged as it is."""


def version(root: Path = ROOT) -> str:
    """Return the version that metadata.txt states."""
    metadata = configparser.ConfigParser()
    metadata.read(root / "metadata.txt", encoding="utf-8")
    return metadata["general"]["version"]


def plugin_files(root: Path = ROOT) -> dict[str, Path]:
    """Return the files of the plugin: name inside its folder → where it lies in the checkout."""
    files = {name: root / name for name in ("metadata.txt", "LICENSE", "CHANGELOG.md", "README.md")}
    for folder, inside in ((root / PLUGIN, ""), (root / "processing_algorithms", "processing_algorithms/")):
        for path in folder.rglob("*"):
            parts = path.relative_to(folder).parts
            hidden = any(part.startswith(".") or part in LEFT_OUT for part in parts)
            if path.is_file() and not hidden and path.suffix not in SUFFIXES_LEFT_OUT:
                files[inside + "/".join(parts)] = path
    return {name: path for name, path in sorted(files.items()) if path.exists()}


def check(files: dict[str, Path]) -> None:
    """Raise a `PackageError` for what the plugin repository's scan blocks, and for a file that must be there."""
    for name in ("metadata.txt", "LICENSE", "__init__.py", "processing_algorithms/provider.py"):
        if name not in files:
            raise PackageError(f"{name} is missing from the plugin.")
    for name, path in files.items():
        if path.suffix == ".py":
            text = path.read_text(encoding="utf-8")
            for pattern, what in FORBIDDEN.items():
                for number, line in enumerate(text.splitlines(), 1):
                    if re.search(pattern, line):
                        raise PackageError(f"{name}, line {number}, uses {what}, which the plugin repository blocks.")


def build(folder: Path, root: Path = ROOT) -> Path:
    """
    Write the ZIP into `folder` and return its path.

    Raises
    ------
    PackageError
        If a file is missing, a forbidden pattern is found, or the ZIP is too large.
    """
    files = plugin_files(root)
    check(files)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{PLUGIN}-{version(root)}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, source in files.items():
            entry = zipfile.ZipInfo(f"{PLUGIN}/{name}", EARLIEST)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix: else the byte differs between systems
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, source.read_bytes())
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        path.unlink()
        raise PackageError(f"The ZIP has {size / 2**20:.1f} MB, but the plugin repository takes 25 MB.")
    return path


def main() -> int:
    """Build and say where."""
    try:
        path = build(ROOT / "dist")
    except PackageError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
