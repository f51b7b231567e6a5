"""Write docs/algorithms.md: every algorithm with its parameters and outputs, from the algorithms' own help.

algorithm_reference.py [--check]    with --check, only say whether the file is up to date
"""

import argparse
import re
import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import geodl_qgis_plugin

geodl_qgis_plugin.__path__.append(str(ROOT))

from qgis.core import (
    QgsApplication,
    QgsProcessingAlgorithm,
    QgsProcessingModelAlgorithm,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
)

from geodl_qgis_plugin.plugin import GeoDLPlugin

STEPS = "A graphical model; its steps are "
HEAD = """# The algorithms

Written by `make docs` from the algorithms' own help: change it there.
"""


def reference() -> str:
    """Return the whole page."""
    provider = QgsApplication.processingRegistry().providerById("geodl")
    algorithms = sorted(provider.algorithms(), key=lambda algorithm: (algorithm.group(), algorithm.displayName()))
    return HEAD + contents(algorithms) + "".join(section(algorithm) for algorithm in algorithms)


def contents(algorithms: list[QgsProcessingAlgorithm]) -> str:
    """Return a table of the algorithms by the toolbox's groups, with a link to each."""
    lines = ["", "| group | algorithms |", "|---|---|"]
    for group, some in groupby(algorithms, key=lambda algorithm: algorithm.group()):
        links = ", ".join(f"[{algorithm.displayName()}](#{anchor(algorithm)})" for algorithm in some)
        lines.append(f"| {group} | {links} |")
    return "\n".join(lines) + "\n"


def title(algorithm: QgsProcessingAlgorithm) -> str:
    """Return the heading of an algorithm's section."""
    return f"{algorithm.displayName()}: `{algorithm.id()}`"


def anchor(algorithm: QgsProcessingAlgorithm) -> str:
    """Return what a link to that heading is called."""
    return re.sub(r"[^\w -]", "", title(algorithm).lower()).replace(" ", "-")


def section(algorithm: QgsProcessingAlgorithm) -> str:
    """Return what is said of one algorithm."""
    if isinstance(algorithm, QgsProcessingModelAlgorithm):
        lines = [f"\n## {title(algorithm)}\n", f"{algorithm.helpContent()['ALG_DESC']} {STEPS}{steps(algorithm)}."]
    else:
        lines = [f"\n## {title(algorithm)}\n", algorithm.shortDescription()]
        if about := algorithm.about():
            lines += ["", plain(about)]
    lines += ["", "| parameter | what it is | default |", "|---|---|---|"]
    lines += [row(parameter) for parameter in algorithm.parameterDefinitions()]
    destinations = {parameter.name() for parameter in algorithm.parameterDefinitions() if parameter.isDestination()}
    others = [output for output in algorithm.outputDefinitions() if output.name() not in destinations]
    if others:
        lines += [
            "",
            "Further outputs: " + "; ".join(f"`{output.name()}` ({output.description()})" for output in others) + ".",
        ]
    return "\n".join(lines) + "\n"


def steps(model: QgsProcessingModelAlgorithm) -> str:
    """Return the algorithms that a graphical model runs, in order."""
    children = sorted(model.childAlgorithms().values(), key=lambda child: child.position().y())
    return ", ".join(child.algorithm().displayName() for child in children)


def row(parameter: QgsProcessingParameterDefinition) -> str:
    """Return one parameter's line of the table."""
    optional = parameter.flags() & QgsProcessingParameterDefinition.Flag.FlagOptional
    default = parameter.defaultValue()
    shown = ("optional" if optional else "needed") if default in (None, "") else f"`{default}`"
    text = f"{parameter.description()}. {parameter.help()}" if parameter.help() else parameter.description()
    if isinstance(parameter, QgsProcessingParameterEnum):
        text += f" One of: {', '.join(f'`{option}`' for option in parameter.options())}."
    return f"| `{parameter.name()}` | {plain(text).replace(chr(10), ' ').replace('|', chr(92) + '|')} | {shown} |"


def plain(html: str) -> str:
    """Turn the little HTML that help texts hold into Markdown."""
    text = re.sub(r"\s*</p>\s*<p>\s*", "\n\n", html)
    return re.sub(r"<[^>]+>", "", text).strip()


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    application = QgsApplication([], False)
    QgsApplication.initQgis()
    plugin = GeoDLPlugin(None)
    plugin.initProcessing()
    text = reference()
    plugin.unload()
    del application
    path = ROOT / "docs" / "algorithms.md"
    if options.check:
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            print("docs/algorithms.md is out of date: run make docs.", file=sys.stderr)
            return 1
        return 0
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(f"{path.relative_to(ROOT)} is written.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
