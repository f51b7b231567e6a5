"""
The job `setup`: check what the engine needs, install what is missing, and report it for a bug report.

Packages go into a folder of their own, never into QGIS's Python: pip fills a folder beside it, which takes its place only when
all went well. numpy and scipy stay those that QGIS loads, because GDAL's array module is built for that numpy.
"""

from __future__ import annotations

import html
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import Cancelled, EnvironmentProblem, OutputError, SettingsError
from .files import check_output, check_room, whole_file
from .messages import Progress

# what is imported → what pip calls it; numpy and GDAL come with QGIS
REQUIREMENTS = {
    "torch": "torch>=2.4",
    "sklearn": "scikit-learn>=1.3,<2",
    "safetensors": "safetensors>=0.4",
    "scipy": "scipy>=1.8",
    "matplotlib": "matplotlib>=3.5",
    "jinja2": "jinja2>=3.0",
    "harmonica": "harmonica>=0.7,<0.8",  # magnetic predictors, and with verde, which it brings, gridding
    "ppigrf": "ppigrf>=2",
    "onnx": "onnx>=1.16",  # models to and from other programs
    "onnxruntime": "onnxruntime>=1.18",
    "optuna": "optuna>=4.2",  # tuned classifiers
    "distributed": "distributed>=2024.1",  # SCHEDULER
}
KEPT = ("numpy", "scipy")
# For Linux, pip's index has PyTorch with CUDA only: 5.4 GB, and as much again while it is unpacked.
_NEEDED_BYTES = (10 if sys.platform == "linux" else 2) * 2**30
_ASK = """
import importlib, json, sys
answer = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        answer[name] = [str(getattr(module, "__version__", "found")), str(getattr(module, "__file__", ""))]
    except Exception as error:
        answer[name] = [None, f"{type(error).__name__}: {error}"]
torch = sys.modules.get("torch")
if torch is not None and answer.get("torch", [None])[0]:
    capability, cuda = torch.backends.cpu.get_cpu_capability(), torch.cuda.is_available()
    answer["torch runs on"] = [f"{torch.get_num_threads()} threads, {capability}, CUDA {'yes' if cuda else 'no'}", ""]
print(json.dumps(answer))
"""


@dataclass(frozen=True)
class Settings:
    """
    Settings of the job.

    ``packages`` is the folder to install into, ``wheels`` a folder of wheels to take them from instead of an index, and
    ``facts`` what the caller knows (QGIS's version, its profile), which the report repeats.
    """

    install: bool = False
    wheels: str | None = None
    packages: str | None = None
    report: str | None = None
    facts: dict[str, str] = field(default_factory=dict)


def run(settings: Settings, progress: Progress) -> dict[str, Any]:
    """Check, install if asked to, check again, and write the report."""
    if settings.report:
        check_output(settings.report)
    lacking = _lacking(_versions(settings.packages))
    if settings.install and lacking:
        _install(settings, progress)
    versions = _versions(settings.packages)
    lacking = _lacking(versions)
    rows = _rows(settings, versions)
    width = max(len(name) for name, _ in rows)
    text = "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
    progress.message(text)
    if lacking:
        progress.warning(
            f"Missing: {', '.join(lacking)}. Run geodl:setup with INSTALL set to yes, or install into the Python that you "
            f"named for the engine: {sys.executable} -m pip install {' '.join(repr(REQUIREMENTS[name]) for name in lacking)}"
        )
    result: dict[str, Any] = {"missing": lacking}
    if settings.report:
        with whole_file(settings.report) as part:
            part.write_text(_page(text, lacking), encoding="utf-8")
        result["report"] = settings.report
    return result


def _versions(packages: str | None) -> dict[str, list[str | None]]:
    """Ask a fresh Python for versions, so that a half-loaded or broken package cannot disturb this one."""
    path = [packages] if packages else []
    code = f"import sys; sys.path[:0] = {path!r}\n{_ASK}"
    names = dict.fromkeys((*KEPT, "osgeo.gdal", *REQUIREMENTS))
    command = [sys.executable, "-E", "-c", code, *names]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = answer.stdout.strip().splitlines()
    if answer.returncode != 0 or not lines:
        raise EnvironmentProblem(f"{sys.executable} could not tell its packages: {answer.stderr.strip()[-500:]}")
    versions: dict[str, list[str | None]] = json.loads(lines[-1])
    return versions


def _lacking(versions: dict[str, list[str | None]]) -> list[str]:
    return [name for name in REQUIREMENTS if versions[name][0] is None]


def _install(settings: Settings, progress: Progress) -> None:
    if not settings.packages:
        raise SettingsError(
            f"GeoDL does not install into a Python that you named for the engine ({sys.executable}). Install there yourself "
            f"({sys.executable} -m pip install torch scikit-learn safetensors), or leave the engine's Python empty."
        )
    if importlib.util.find_spec("pip") is None:
        raise EnvironmentProblem(
            f"QGIS's Python ({sys.executable}) has no pip, which installs packages. On Debian and Ubuntu: sudo apt install "
            f"python3-pip; elsewhere: {sys.executable} -m ensurepip. Then run geodl:setup again."
        )
    if settings.wheels and not Path(settings.wheels).is_dir():
        raise SettingsError(f"WHEELS is {settings.wheels}, which is no folder. Give the folder that holds the wheels.")
    target = Path(settings.packages)
    check_output(target, folder=True)
    check_room(target.parent, 2 * 2**30 if settings.wheels else _NEEDED_BYTES)
    for left_over in target.parent.glob(f".{target.name}.*.new"):
        shutil.rmtree(left_over, ignore_errors=True)
    work = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.new")
    work.mkdir()
    try:
        _swap(_fill(work, settings.wheels, progress), target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fill(work: Path, wheels: str | None, progress: Progress) -> Path:
    """Install what QGIS's Python lacks into a folder inside ``work``, which also takes pip's downloads; return that folder."""
    fresh, constraints, plan = work / "packages", work / "constraints.txt", work / "plan.json"
    of_qgis = _versions(None)
    wanted = [requirement for name, requirement in REQUIREMENTS.items() if of_qgis[name][0] is None]
    progress.update(0.01, f"Looking for {', '.join(wanted)}")
    kept = [f"{name}=={of_qgis[name][0]}" for name in KEPT if of_qgis[name][0]]
    constraints.write_text("\n".join(kept), encoding="utf-8")
    command = [sys.executable, "-E", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "--only-binary", ":all:", "--constraint", str(constraints)]
    command += ["--cache-dir", str(work / "cache")]
    if wheels:
        command += ["--no-index", "--find-links", wheels]
    # With --target alone, pip would not see what QGIS's Python has and would bring a second numpy. So pip first plans for
    # QGIS's Python as it is, then puts into the folder what the plan names and nothing else.
    _pip([*command, "--dry-run", "--report", str(plan), *wanted], work, progress)
    parts = [part["metadata"] for part in json.loads(plan.read_text(encoding="utf-8"))["install"]]
    exact = [f"{part['name']}=={part['version']}" for part in parts]
    progress.update(0.5, f"Installing {', '.join(exact)}")
    _pip([*command, "--no-deps", "--target", str(fresh), *exact], work, progress)
    versions = _versions(str(fresh))
    if broken := _lacking(versions):
        raise EnvironmentProblem(
            f"{broken[0]} was installed but cannot be loaded ({versions[broken[0]][1]}). Nothing was changed."
        )
    return fresh


def _pip(command: list[str], work: Path, progress: Progress) -> None:
    """Run pip, passing on its lines; end it when the user cancels. It unpacks in ``work``: /tmp is often too small."""
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(work))
    pip = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | places,
    )
    over = threading.Event()

    def end_on_cancel() -> None:
        while not over.wait(0.2):
            if progress.cancelled():
                pip.terminate()

    watcher = threading.Thread(target=end_on_cancel, daemon=True)
    watcher.start()
    lines = []
    for line in pip.stdout or ():
        lines.append(line.rstrip())
        if line.startswith(("Collecting", "Installing", "Successfully")) or "Downloading" in line:
            progress.message(line.strip())
    status = pip.wait()
    over.set()
    watcher.join()
    if progress.cancelled():
        raise Cancelled("The installation was cancelled. Nothing was changed.")
    if status != 0:
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-5:]
        raise EnvironmentProblem(
            f"pip could not install the packages: {' '.join(errors)} Nothing was changed. Check the connection, or "
            "give a folder of wheels as WHEELS."
        )


def _swap(fresh: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.old")
    try:
        if target.exists():
            os.replace(target, old)
        os.replace(fresh, target)
    except OSError as error:
        if old.exists() and not target.exists():
            os.replace(old, target)
        raise OutputError(
            f"{target} is in use and could not be replaced ({error.strerror}). Close other QGIS windows and run "
            "geodl:setup again."
        ) from error
    shutil.rmtree(old, ignore_errors=True)


def _rows(settings: Settings, versions: dict[str, list[str | None]]) -> list[tuple[str, str]]:
    rows = list(settings.facts.items())
    rows += [
        ("System", platform.platform()),
        ("Processor cores", str(os.cpu_count())),
        ("Engine's Python", f"{platform.python_version()} ({sys.executable})"),
        ("Package folder", settings.packages or "none: the engine's Python was named by the user"),
    ]
    for name, (version, where) in versions.items():
        rows.append((name, f"MISSING ({where})" if version is None else f"{version}  {where}".rstrip()))
    rows.append(("GRASS", shutil.which("grass") or "not on the path (only needed for GRASS's own tools)"))
    return rows


def _page(text: str, lacking: list[str]) -> str:
    verdict = f"Missing: {', '.join(lacking)}." if lacking else "Everything that GeoDL needs is there."
    return (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>GeoDL: environment</title>'
        "<body style='font-family: sans-serif'><h1>GeoDL: environment</h1>"
        f"<p>{html.escape(verdict)} Paste the lines below into a bug report.</p><pre>{html.escape(text)}</pre></body></html>\n"
    )
