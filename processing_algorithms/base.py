"""
What all of GeoDL's algorithms share: how they are listed, helped, and handed to the engine.

What only a run needs is imported by the run: everyone who starts QGIS pays for the rest.
"""

from collections.abc import Sequence
from typing import Any

from qgis.core import (
    Qgis,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingException,
    QgsProcessingFeedback,
    QgsProcessingOutputDefinition,
    QgsProcessingOutputRasterLayer,
    QgsProcessingOutputVectorLayer,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterNumber,
)
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QIcon

from geodl_qgis_plugin.engine.errors import GeoDLError

from .plugin_files import icon_path


class GeoDLAlgorithm(QgsProcessingAlgorithm):
    """
    An algorithm that is one job of the engine.

    A subclass sets `NAME` and `GROUP_ID`, writes `displayName`, `shortDescription` and `initAlgorithm`, and is listed in
    ``provider.py``. The job has the algorithm's name and takes the parameters by their names in lower case; where a
    job wants more or other settings than the parameters, `settings` is extended.
    """

    NAME = ""
    GROUP_ID = ""
    NEEDS: tuple[str, ...] = ("torch", "sklearn", "safetensors")
    WHOLE, REAL = Qgis.ProcessingNumberParameterType.Integer, Qgis.ProcessingNumberParameterType.Double

    def name(self) -> str:
        """Return the id without ``geodl:``; permanent."""
        return self.NAME

    def groupId(self) -> str:
        """Return the id of the group; permanent."""
        return self.GROUP_ID

    def group(self) -> str:
        """Return the group's name in the toolbox."""
        return {
            "predictors": self.tr("Predictors"),
            "trainingdata": self.tr("Training data"),
            "classification": self.tr("Classification"),
            "forecasting": self.tr("Forecasting"),
            "models": self.tr("Models"),
            "setup": self.tr("Set-up"),
        }[self.GROUP_ID]

    def icon(self) -> QIcon:
        """Return GeoDL's icon."""
        return QIcon(icon_path())

    def createInstance(self) -> "GeoDLAlgorithm":
        """Return a fresh algorithm of the same class."""
        return type(self)()

    def tr(self, text: str) -> str:
        """Translate; call it inside methods, with a plain text (no f-string)."""
        return QCoreApplication.translate("GeoDL", text)

    def add(self, definition: QgsProcessingParameterDefinition, *, help: str, advanced: bool = False) -> None:
        """Add a parameter with its help."""
        name = definition.name()  # addParameter deletes what it does not take
        definition.setHelp(help)
        if advanced:
            definition.setFlags(definition.flags() | QgsProcessingParameterDefinition.Flag.FlagAdvanced)
        if not self.addParameter(definition):
            raise ValueError(f"{self.NAME}: parameter {name} is defined twice.")

    def add_choice(self, name: str, text: str, choices: Sequence[str], help: str, *, advanced: bool = False) -> None:
        """Add a choice of words; the first is the default."""
        parameter = QgsProcessingParameterEnum(
            name, text, list(choices), defaultValue=choices[0], usesStaticStrings=True
        )
        self.add(parameter, help=help, advanced=advanced)

    def add_number(
        self, name: str, text: str, kind: Any, default: float, help: str, *, advanced: bool = False, **limits: float
    ) -> None:
        """Add a number; limits are ``minValue`` and ``maxValue``."""
        self.add(QgsProcessingParameterNumber(name, text, kind, default, **limits), help=help, advanced=advanced)

    def add_output(self, definition: QgsProcessingOutputDefinition) -> None:
        """Add an output that is no destination parameter, such as a number."""
        name = definition.name()
        if not self.addOutput(definition):
            raise ValueError(f"{self.NAME}: output {name} is defined twice.")

    def about(self) -> str:
        """Return further paragraphs (HTML) for the help, between the short description and the parameters."""
        return ""

    def shortHelpString(self) -> str:
        """Return the help: what the algorithm does, then every parameter."""
        rows = "".join(
            f"<dt><b>{parameter.description()}</b></dt><dd>{parameter.help()}</dd>"
            for parameter in self.parameterDefinitions()
        )
        return f"<p>{self.shortDescription()}</p>{self.about()}<dl>{rows}</dl>"

    def canExecute(self) -> tuple[bool, str]:
        """Say before a run what the engine lacks, and how to get it."""
        from .interpreter import missing_packages  # noqa: PLC0415

        try:
            missing = missing_packages(self.NEEDS)
        except GeoDLError as error:
            return False, str(error)
        if not missing:
            return True, ""
        text = self.tr(
            "GeoDL needs {}, which QGIS's Python does not have. Run “Check and install” (geodl:setup) with INSTALL set to "
            "yes: it puts them into a folder of your own profile."
        )
        return False, text.format(", ".join(missing))

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Turn the parameters into settings, run the job, and return its outputs."""
        from . import engine_process  # noqa: PLC0415

        try:
            settings = self.settings(parameters, context, feedback)
            result = engine_process.run_job(self.NAME, settings, feedback)
        except GeoDLError as error:
            raise QgsProcessingException(str(error)) from error
        results = self.outputs(result, settings)
        self._lay_over_each_other(results, context)
        return results

    def _lay_over_each_other(self, results: dict[str, Any], context: QgsProcessingContext) -> None:
        """Have vectors loaded over rasters, and, of each, what is declared first over what comes after: the map on top."""
        from . import layers  # noqa: PLC0415

        kinds = (QgsProcessingOutputVectorLayer, QgsProcessingOutputRasterLayer)
        paths = [
            str(results[definition.name()])
            for kind in kinds
            for definition in self.outputDefinitions()
            if isinstance(definition, kind) and definition.name() in results
        ]
        layers.order_when_loaded(context, paths)

    def settings(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Return the job's settings: every parameter that has a value, by its name in lower case."""
        from . import job_settings  # noqa: PLC0415

        return job_settings.from_parameters(self, parameters, context, feedback)

    def outputs(self, result: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
        """Return the engine's result by the names of the declared outputs; what it did not make is left out."""
        names = [definition.name() for definition in self.outputDefinitions()]
        return {name: result[name.lower()] for name in names if result.get(name.lower()) is not None}
