"""geodl:exporttiles: a tile set as files that other tools train on."""

from typing import Any

from qgis.core import (
    QgsProcessingOutputNumber,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
)

from .base import GeoDLAlgorithm


class ExportTiles(GeoDLAlgorithm):
    """Writes tiles in the layouts of other tools."""

    NAME, GROUP_ID = "exporttiles", "trainingdata"
    NEEDS = ("scipy",)
    TILES, FORMAT, OUTPUT, COUNT = "TILES", "FORMAT", "OUTPUT", "COUNT"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Export tiles")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr("Write a tile set as image files that other deep-learning tools read.")

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>Training, validation and test tiles go into folders of their own. Images are float GeoTIFFs in the bands' "
            "units, NaN where there is no data or where a pixel is hidden from the part; masks hold class codes, 0 where "
            "nothing is labelled. classes.csv and bands.csv say what the codes and bands are.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add(
            QgsProcessingParameterFile(
                self.TILES, self.tr("Tile set"), behavior=QgsProcessingParameterFile.Behavior.Folder
            ),
            help=self.tr("Folder that “Extract tiles” made."),
        )
        self.add(
            QgsProcessingParameterEnum(
                self.FORMAT,
                self.tr("Format"),
                ["pairs", "class folders", "ArcGIS Classified_Tiles"],
                defaultValue="pairs",
                usesStaticStrings=True,
            ),
            help=self.tr(
                "Pairs: an image and a mask GeoTIFF for each tile. Class folders: each tile in the folder of its class. ArcGIS "
                "Classified_Tiles: as ArcGIS Pro exports training data, with its statistics files."
            ),
        )
        self.add(
            QgsProcessingParameterFolderDestination(self.OUTPUT, self.tr("Exported tiles")),
            help=self.tr("Folder that is made; one that stands there is replaced."),
        )
        self.add_output(QgsProcessingOutputNumber(self.COUNT, self.tr("Number of tiles")))
