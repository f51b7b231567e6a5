"""The built ZIP: what is in it, that it is the same every time, and that QGIS takes it."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import install_plugin
import package


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return package.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def checkout(tmp_path):
    """Return a copy of the files that are packaged, to be spoilt."""
    for name in ("geodl_qgis_plugin", "processing_algorithms"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("metadata.txt", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def qgis_process(profile_home, *arguments, env=()):
    environment = (
        os.environ | {"QGIS_CUSTOM_CONFIG_PATH": str(profile_home), "QT_QPA_PLATFORM": "offscreen"} | dict(env)
    )
    command = ["qgis_process", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)


def test_one_folder_with_what_qgis_needs(archive):
    """The ZIP has one top folder with metadata, licence and the algorithms, and no caches or hidden files."""
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()
    assert {name.split("/")[0] for name in names} == {"geodl_qgis_plugin"}
    for needed in (
        "metadata.txt",
        "LICENSE",
        "__init__.py",
        "plugin.py",
        "run_engine.py",
        "icons/geodl.svg",
        "engine/__main__.py",
        "processing_algorithms/provider.py",
    ):
        assert f"geodl_qgis_plugin/{needed}" in names
    assert not [name for name in names if "__pycache__" in name or "/." in name or name.endswith(".pyc")]


def test_same_bytes_every_time(archive, tmp_path, checkout):
    """Building again gives the same bytes, also when the files are newer."""
    again = package.build(tmp_path / "dist")
    assert again.read_bytes() == archive.read_bytes()
    package.build(checkout / "first", checkout)
    for path in checkout.rglob("*.py"):
        os.utime(path, (2_000_000_000, 2_000_000_000))
    first = next((checkout / "first").iterdir()).read_bytes()
    assert package.build(checkout / "second", checkout).read_bytes() == first


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("x = eval('1')", "eval"),
        ("import pickle", "pickle"),
        ("from pickle import loads", "pickle"),
        ("subprocess.run('ls', shell=True)", "shell=True"),
        ("tar.extractall(path)", "extractall"),
        ("yaml.load(text)", "yaml.load"),
    ],
)
def test_what_the_repository_blocks_is_refused(checkout, line, what):
    """A forbidden pattern stops the build and is told with its file and line."""
    (checkout / "processing_algorithms" / "bad.py").write_text(f'"""Bad."""\n{line}\n')
    with pytest.raises(package.PackageError, match=rf"processing_algorithms/bad\.py, line 2, uses {re.escape(what)}"):
        package.build(checkout / "dist", checkout)


def test_model_eval_is_no_eval(checkout):
    """PyTorch's `model.eval()` is not taken for Python's `eval`."""
    (checkout / "processing_algorithms" / "good.py").write_text('"""Good."""\nnet.eval()\nretrieval(1)\n')
    assert package.build(checkout / "dist", checkout).exists()


def test_too_large_is_refused(checkout, monkeypatch):
    """A ZIP over the repository's limit is refused and not left behind."""
    monkeypatch.setattr(package, "LARGEST_BYTES", 1000)
    with pytest.raises(package.PackageError, match="takes 25 MB"):
        package.build(checkout / "dist", checkout)
    assert not list((checkout / "dist").iterdir())


def test_versions_agree():
    """metadata.txt, pyproject.toml and the changelog name the same version."""
    version = package.version()
    assert f'\nversion = "{version}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_python_folder_is_a_package_of_pyproject():
    """What pip would install is what is packaged."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    folders = {path.parent for path in (ROOT / "geodl_qgis_plugin").rglob("__init__.py")}
    for folder in folders:
        assert f'"{".".join(folder.relative_to(ROOT).parts)}"' in text


def test_enabling_keeps_other_settings(tmp_path):
    """Enabling the plugin leaves the rest of the profile's settings as they were, and twice is as once."""
    ini = tmp_path / "QGIS" / "QGIS3.ini"
    ini.parent.mkdir()
    ini.write_text(
        "[app]\nname=Überblick\n\n[PythonPlugins]\nother=true\ngeodl_qgis_plugin=false\n\n[qgis]\nx=1\n",
        encoding="utf-8",
    )
    install_plugin.enable(tmp_path)
    install_plugin.enable(tmp_path)
    lines = ini.read_text(encoding="utf-8").splitlines()
    section = lines[lines.index("[PythonPlugins]") : lines.index("[qgis]")]
    assert "geodl_qgis_plugin=true" in section
    assert "other=true" in section
    assert sum("geodl_qgis_plugin" in line for line in lines) == 1
    assert "name=Überblick" in lines


@pytest.mark.skipif(shutil.which("qgis_process") is None, reason="needs QGIS")
def test_qgis_process_lists_and_runs_the_installed_plugin(archive, tmp_path):
    """In a fresh profile with the ZIP installed, qgis_process lists GeoDL and runs geodl:setup with the true engine."""
    home = tmp_path / "home"
    target = install_plugin.install(archive, home / "profiles" / "default")
    assert (target / "processing_algorithms" / "provider.py").exists()
    listed = qgis_process(home, "list")
    assert "geodl:setup" in listed.stdout, listed.stdout + listed.stderr
    report = tmp_path / "report.html"
    ran = qgis_process(home, "run", "geodl:setup", f"--REPORT={report}", env={"GEODL_PYTHON": sys.executable})
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "torch" in report.read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("qgis_process") is None, reason="needs QGIS")
def test_qgis_process_says_what_is_missing(archive, tmp_path):
    """With an engine's Python that does not exist, qgis_process ends with a sentence and without a traceback."""
    home = tmp_path / "home"
    install_plugin.install(archive, home / "profiles" / "default")
    ran = qgis_process(
        home, "run", "geodl:setup", f"--REPORT={tmp_path / 'r.html'}", env={"GEODL_PYTHON": "/no/python"}
    )
    assert ran.returncode != 0
    assert "GEODL_PYTHON names /no/python" in ran.stdout + ran.stderr
    assert "Traceback" not in ran.stdout + ran.stderr
