"""The provider: what it lists, what it says, and what it does not load."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
from geodl_qgis_plugin.processing_algorithms import provider
from geodl_qgis_plugin.processing_algorithms.base import GeoDLAlgorithm
from geodl_qgis_plugin.processing_algorithms.provider import ALGORITHMS
from qgis.core import QgsProcessingException, QgsProcessingModelAlgorithm, QgsProcessingModelChildAlgorithm

from geodl_qgis_plugin import processing_algorithms
from geodl_qgis_plugin.engine.jobs import JOBS

ROOT = Path(__file__).resolve().parent.parent.parent
HEAVY = ("torch", "sklearn", "scipy", "matplotlib", "safetensors")


def listed(qgis):
    return list(qgis.processingRegistry().providerById("geodl").algorithms())


def test_every_algorithm_file_is_listed(qgis):
    """No algorithm is forgotten in the provider's list, and QGIS took all of them."""
    classes = set()
    for module in pkgutil.iter_modules(processing_algorithms.__path__):
        members = vars(importlib.import_module(f"{processing_algorithms.__name__}.{module.name}")).values()
        classes |= {member for member in members if inspect.isclass(member) and issubclass(member, GeoDLAlgorithm)}
    assert {one for one in classes if one.NAME} == set(ALGORITHMS)  # those without are what several share
    assert {algorithm.NAME for algorithm in ALGORITHMS} <= {algorithm.name() for algorithm in listed(qgis)}


@pytest.mark.parametrize("algorithm", [algorithm() for algorithm in ALGORITHMS], ids=lambda algorithm: algorithm.NAME)
def test_algorithm_is_complete(qgis, algorithm):
    """An algorithm has a permanent id, a job, a name, a group, a sentence, and help for every parameter."""
    algorithm = algorithm.create()
    assert algorithm.name().isalnum()
    assert algorithm.name() == algorithm.name().lower()
    assert algorithm.name() in JOBS
    assert algorithm.displayName()
    assert algorithm.group()
    assert algorithm.shortDescription().endswith(".")
    for parameter in algorithm.parameterDefinitions():
        assert parameter.name() == parameter.name().upper()
        assert len(parameter.help()) > 20, f"{algorithm.id()} {parameter.name()} has no help"
        assert parameter.help() in algorithm.shortHelpString()


def test_plugin_loads_without_torch():
    """With no heavy package on the path every algorithm is listed with its help; none of them is imported."""
    code = textwrap.dedent(f"""
        import sys
        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] in {HEAVY!r}:
                    raise ImportError(name)
        sys.meta_path.insert(0, Block())
        sys.path.insert(0, {str(ROOT)!r})
        import geodl_qgis_plugin
        geodl_qgis_plugin.__path__.append({str(ROOT)!r})
        from qgis.core import QgsApplication
        application = QgsApplication([], False)
        QgsApplication.initQgis()
        from geodl_qgis_plugin import classFactory
        plugin = classFactory(None)
        plugin.initProcessing()
        provider = QgsApplication.processingRegistry().providerById("geodl")
        print(len(provider.algorithms()), len([a for a in provider.algorithms() if a.shortHelpString()]))
        print(sorted(set({HEAVY!r}) & set(sys.modules)))
        plugin.unload()
        print(QgsApplication.processingRegistry().providerById("geodl"))
        QgsApplication.exitQgis()
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    counts, loaded, after = done.stdout.strip().splitlines()
    assert counts.split()[0] == counts.split()[1]
    assert int(counts.split()[0]) >= len(ALGORITHMS)
    assert loaded == "[]"
    assert after == "None"


def test_algorithm_says_what_is_missing(qgis, monkeypatch, tmp_path):
    """Where QGIS's Python lacks a package, canExecute names it and the way to get it."""
    monkeypatch.delenv("GEODL_PYTHON", raising=False)

    class Example(GeoDLAlgorithm):
        NAME, GROUP_ID, NEEDS = "example", "setup", ("json", "no_such_package_of_ours")

    possible, reason = Example().canExecute()
    assert not possible
    assert "no_such_package_of_ours" in reason
    assert "json" not in reason
    assert "geodl:setup" in reason
    Example.NEEDS = ("json",)
    assert Example().canExecute() == (True, "")


def test_two_parameters_of_one_name_are_refused(qgis):
    """A slip of an author, such as a name used twice, is no silent loss of a parameter."""
    from qgis.core import QgsProcessingParameterBoolean

    class Example(GeoDLAlgorithm):
        NAME, GROUP_ID = "example", "setup"

        def initAlgorithm(self, config=None):
            self.add(QgsProcessingParameterBoolean("A", "a"), help="One.")
            self.add(QgsProcessingParameterBoolean("A", "a"), help="Two.")

    with pytest.raises(ValueError, match="A is defined twice"):
        Example().initAlgorithm()


def test_models_are_offered(qgis, monkeypatch, tmp_path):
    """A graphical model in the plugin's models folder is listed under GeoDL and finds the algorithms that it calls."""
    model = QgsProcessingModelAlgorithm("Example chain", "Models")
    child = QgsProcessingModelChildAlgorithm("geodl:setup")
    child.setChildId("check")
    model.addChildAlgorithm(child)
    (tmp_path / "models").mkdir()
    assert model.toFile(str(tmp_path / "models" / "example.model3"))
    registered = qgis.processingRegistry().providerById("geodl")
    with monkeypatch.context() as patch:
        patch.setattr(provider, "geodl_qgis_plugin", SimpleNamespace(__path__=[str(tmp_path)]))
        registered.refreshAlgorithms()
        offered = [algorithm for algorithm in listed(qgis) if algorithm.displayName() == "Example chain"]
        assert [algorithm.provider().id() for algorithm in offered] == ["geodl"]
        assert offered[0].childAlgorithm("check").algorithm().id() == "geodl:setup"
        (tmp_path / "models" / "example.model3").write_text("no model")
        with pytest.raises(QgsProcessingException, match=r"example\.model3 cannot be read"):
            provider._read_model(tmp_path / "models" / "example.model3")
    registered.refreshAlgorithms()
    assert not [algorithm for algorithm in listed(qgis) if algorithm.displayName() == "Example chain"]
