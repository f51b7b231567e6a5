"""Turn the parameters of an algorithm into the settings of its job: plain values, by name in lower case."""

from typing import Any

from qgis.core import (
    QgsMapLayer,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterCrs,
    QgsProcessingParameterDateTime,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMapLayer,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterDestination,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProcessingParameterVectorLayer,
    QgsRasterLayer,
)

from .layers import further_nodata, raster_path, vector_path


def from_parameters(
    algorithm: QgsProcessingAlgorithm,
    parameters: dict[str, Any],
    context: QgsProcessingContext,
    feedback: QgsProcessingFeedback,
) -> dict[str, Any]:
    """
    Return one setting for each parameter that has a value.

    Layers become paths, several layers a list of paths, an extent the text
    ``"west,east,south,north [EPSG:code]"``, a CRS its code or WKT, a date its ISO text, and an output that was asked
    for the path it is to have. Options of a list are given by their texts if the parameter uses static strings, else by
    their numbers.
    """
    reader = _Reader(algorithm, parameters, context, feedback)
    settings = {}
    for definition in algorithm.parameterDefinitions():
        value = reader.value(definition)
        if value is not None:
            settings[definition.name().lower()] = value
    return settings


class _Reader:
    """Reads one parameter after the other."""

    def __init__(
        self,
        algorithm: QgsProcessingAlgorithm,
        parameters: dict[str, Any],
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
    ) -> None:
        self._algorithm = algorithm
        self._parameters = parameters
        self._context = context
        self._feedback = feedback

    def value(self, definition: QgsProcessingParameterDefinition) -> Any:
        """Return the plain value, or none if the user left the parameter empty."""
        name = definition.name()
        if self._parameters.get(name, definition.defaultValue()) in (None, ""):
            return None
        # A subclass stands before its base: isinstance is asked in this order.
        readers = (
            (QgsProcessingParameterBoolean, self._algorithm.parameterAsBool),
            (QgsProcessingParameterEnum, self._choice),
            (QgsProcessingParameterNumber, self._number),
            (QgsProcessingParameterField, self._field),
            (QgsProcessingParameterMultipleLayers, self._layers),
            (
                (
                    QgsProcessingParameterRasterLayer,
                    QgsProcessingParameterMapLayer,
                    QgsProcessingParameterVectorLayer,
                    QgsProcessingParameterFeatureSource,
                ),
                self._layer,
            ),
            (QgsProcessingParameterExtent, self._extent),
            (QgsProcessingParameterCrs, self._crs),
            (QgsProcessingParameterDateTime, self._date),
            (
                (QgsProcessingParameterRasterDestination, QgsProcessingParameterVectorDestination),
                self._algorithm.parameterAsOutputLayer,
            ),
            (
                (QgsProcessingParameterFileDestination, QgsProcessingParameterFolderDestination),
                self._algorithm.parameterAsFileOutput,
            ),
            ((QgsProcessingParameterFile, QgsProcessingParameterString), self._algorithm.parameterAsString),
        )
        for kinds, read in readers:
            if isinstance(definition, kinds):
                return read(self._parameters, name, self._context)
        raise TypeError(f"Parameter {name} is a {type(definition).__name__}, which job_settings cannot read.")

    def _choice(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> Any:
        definition = self._algorithm.parameterDefinition(name)
        several, texts = definition.allowMultiple(), definition.usesStaticStrings()
        read = {
            (False, False): self._algorithm.parameterAsEnum,
            (True, False): self._algorithm.parameterAsEnums,
            (False, True): self._algorithm.parameterAsEnumString,
            (True, True): self._algorithm.parameterAsEnumStrings,
        }[several, texts]
        return read(parameters, name, context)

    def _number(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> float:
        whole = self._algorithm.parameterDefinition(name).dataType() == QgsProcessingParameterNumber.Type.Integer
        read = self._algorithm.parameterAsInt if whole else self._algorithm.parameterAsDouble
        return read(parameters, name, context)

    def _field(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> Any:
        fields = self._algorithm.parameterAsStrings(parameters, name, context)
        return fields if self._algorithm.parameterDefinition(name).allowMultiple() else fields[0]

    def _layers(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> list[str]:
        if self._algorithm.parameterDefinition(name).layerType() == QgsProcessing.SourceType.TypeFile:
            return self._algorithm.parameterAsFileList(parameters, name, context)
        layers = self._algorithm.parameterAsLayerList(parameters, name, context)
        given = parameters[name] if isinstance(parameters[name], (list, tuple)) else [parameters[name]]
        if len(layers) == len(given) and all(isinstance(layer, QgsRasterLayer) for layer in layers):
            return [raster_path(layer) + further_nodata(layer) for layer in layers]
        # What QGIS cannot load goes to the engine as it was given: the engine says what is wrong with it.
        return [value.source() if isinstance(value, QgsMapLayer) else str(value) for value in given]

    def _layer(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> str:
        layer = self._algorithm.parameterAsLayer(parameters, name, context)
        if isinstance(layer, QgsRasterLayer):
            return raster_path(layer)
        if layer is None and isinstance(parameters.get(name), str):
            return parameters[name]  # no layer: the engine says what is wrong with it
        return vector_path(self._algorithm, parameters, name, context, self._feedback)

    def _extent(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> str:
        box = self._algorithm.parameterAsExtent(parameters, name, context)
        crs = self._algorithm.parameterAsExtentCrs(parameters, name, context)
        numbers = ",".join(repr(v) for v in (box.xMinimum(), box.xMaximum(), box.yMinimum(), box.yMaximum()))
        return f"{numbers} [{crs.authid() or crs.toWkt()}]" if crs.isValid() else numbers

    def _crs(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> str:
        crs = self._algorithm.parameterAsCrs(parameters, name, context)
        return crs.authid() or crs.toWkt()

    def _date(self, parameters: dict[str, Any], name: str, context: QgsProcessingContext) -> str:
        return self._algorithm.parameterAsDateTime(parameters, name, context).toPyDateTime().isoformat()
