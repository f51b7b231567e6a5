"""geodl:extracttiles: from rasters and mapped examples to a tile set, parted in space."""

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingOutputNumber,
    QgsProcessingParameterEnum,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSource,
    QgsProcessingParameterField,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterMultipleLayers,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
    QgsProcessingUtils,
)

from geodl_qgis_plugin.engine.errors import SettingsError

from .base import GeoDLAlgorithm
from .layers import drawn_by_field, layer_classes, layer_paths, style_when_loaded


class ExtractTiles(GeoDLAlgorithm):
    """Cuts tiles for training out of predictors and labels."""

    NAME, GROUP_ID = "extracttiles", "trainingdata"
    NEEDS = ("scipy", "jinja2", "matplotlib")
    PREDICTORS, LABELS, CLASS_FIELD = "PREDICTORS", "LABELS", "CLASS_FIELD"
    TILE_SIZE, STRIDE, BLOCK_SIZE, BUFFER = "TILE_SIZE", "STRIDE", "BLOCK_SIZE", "BUFFER"
    VALIDATION, TEST, TEST_AREAS, SEED, EXTENT = "VALIDATION", "TEST", "TEST_AREAS", "SEED", "EXTENT"
    BANDS, LABEL_WIDTH, CONTACT_BELT, OVERLAP = "BANDS", "LABEL_WIDTH", "CONTACT_BELT", "OVERLAP"
    SMALLEST_CLASS, SMALL_CLASSES, SPLIT, FOLDS, TEST_FOLD = (
        "SMALLEST_CLASS",
        "SMALL_CLASSES",
        "SPLIT",
        "FOLDS",
        "TEST_FOLD",
    )
    CONTEXT, MIN_LABELLED, TILE_LABEL, TILE_LABEL_SHARE = "CONTEXT", "MIN_LABELLED", "TILE_LABEL", "TILE_LABEL_SHARE"
    STORAGE, OUTPUT, FOOTPRINTS, REPORT = "STORAGE", "OUTPUT", "FOOTPRINTS", "REPORT"

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Extract tiles")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr("Cut tiles with labels out of rasters, parted in space into training, validation and test.")

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>The area is parted into blocks, which are dealt to training, validation and test before tiles are cut, so that "
            "every class is in every part where it can be. Training learns from no label in a test block or within the buffer "
            "round one; whether it sees the predictors there, as context, is up to CONTEXT. Statistics for scaling come from "
            "training blocks only.</p>"
            "<p>Rasters of another CRS, pixel size or extent are warped on the fly to the grid of the first one. Names and "
            "colours of classes are those that the label layer is drawn with.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self._add_inputs()
        self._add_split()
        self._add_advanced_labels()
        self._add_advanced_tiles()
        self.add(
            QgsProcessingParameterFolderDestination(self.OUTPUT, self.tr("Tile set")),
            help=self.tr("Folder with the tiles, for “Train classifier”. A tile set that stands there is replaced."),
        )
        self.add(
            QgsProcessingParameterVectorDestination(
                self.FOOTPRINTS,
                self.tr("Footprints"),
                QgsProcessing.SourceType.TypeVectorPolygon,
                optional=True,
                createByDefault=True,
            ),
            help=self.tr("Polygon layer of the tiles with part, class and share of valid pixels, coloured by part."),
        )
        self.add(
            QgsProcessingParameterFileDestination(
                self.REPORT, self.tr("Report"), self.tr("HTML files (*.html)"), optional=True, createByDefault=False
            ),
            help=self.tr(
                "Page with a map of the split, the share of each class in each part, tiles and band statistics."
            ),
        )
        self.add_output(QgsProcessingOutputNumber("TILES", self.tr("Number of tiles")))

    def _add_inputs(self) -> None:
        self.add(
            QgsProcessingParameterMultipleLayers(
                self.PREDICTORS, self.tr("Predictors"), QgsProcessing.SourceType.TypeRaster
            ),
            help=self.tr(
                "Rasters whose bands the model will see, in this order. The first one sets the grid: CRS, pixel "
                "size and extent."
            ),
        )
        self.add(
            QgsProcessingParameterMultipleLayers(
                self.LABELS,
                self.tr("Labels (polygons, lines, points or raster)"),
                QgsProcessing.SourceType.TypeMapLayer,
            ),
            help=self.tr(
                "Mapped examples, in any CRS. Pixels without a label are not learnt from; they are no class. Where several "
                "layers have a label for a pixel, the first layer counts."
            ),
        )
        self.add(
            QgsProcessingParameterField(
                self.CLASS_FIELD, self.tr("Class field"), parentLayerParameterName=self.LABELS, optional=True
            ),
            help=self.tr(
                "Field of a vector layer that names the class, a text or whole numbers. May be left out where the layer is "
                "drawn by categories of a field; not needed for a raster."
            ),
        )
        self._number(
            self.TILE_SIZE,
            self.tr("Tile size (pixels)"),
            128,
            3,
            help=self.tr("Side of a tile, in pixels of the first predictor. 128 suits most networks."),
        )
        self._number(
            self.STRIDE,
            self.tr("Stride (pixels)"),
            0,
            0,
            help=self.tr(
                "Distance between neighbouring training tiles; 0 takes half a tile. Validation and test tiles never overlap."
            ),
        )

    def _add_split(self) -> None:
        self._number(
            self.BLOCK_SIZE,
            self.tr("Block size (map units)"),
            0.0,
            0,
            help=self.tr(
                "Side of the blocks that are dealt to training, validation and test, in units of the first raster's CRS. 0 "
                "takes the larger of two tiles and the distance over which the predictors resemble each other, or less if that "
                "would give too few blocks."
            ),
        )
        self._number(
            self.BUFFER,
            self.tr("Buffer (map units)"),
            0.0,
            0,
            help=self.tr(
                "Distance round test blocks that training does not see, in units of the first raster's CRS. The wider, the "
                "more honest the score: near pixels are alike."
            ),
        )
        self._number(
            self.VALIDATION,
            self.tr("Validation (percent)"),
            20.0,
            0,
            90,
            help=self.tr("Share of the labelled pixels by which training is stopped at the right time."),
        )
        self._number(
            self.TEST,
            self.tr("Test (percent)"),
            20.0,
            0,
            90,
            help=self.tr(
                "Share of the labelled pixels that only score the finished model. Unused if test areas are given."
            ),
        )
        self.add(
            QgsProcessingParameterFeatureSource(
                self.TEST_AREAS, self.tr("Test areas"), [QgsProcessing.SourceType.TypeVectorPolygon], optional=True
            ),
            help=self.tr("Polygons that are the test part, instead of blocks that are dealt."),
        )
        self._number(
            self.SEED,
            self.tr("Seed"),
            0,
            0,
            help=self.tr("Another number deals the blocks in another way; the same number gives the same tiles."),
        )
        self.add(
            QgsProcessingParameterExtent(self.EXTENT, self.tr("Extent"), optional=True),
            help=self.tr("Part of the rasters from which tiles are cut; all of it if left out."),
        )

    def _add_advanced_labels(self) -> None:
        self.add(
            QgsProcessingParameterString(
                self.BANDS, self.tr("Bands (name; unit; kind; no data)"), multiLine=True, optional=True
            ),
            help=self.tr(
                "One line a band, in order, to replace what the rasters say: name; unit; kind; values that mean no data. An "
                "empty part keeps what there is. Kinds: scalar, azimuth (aspect in degrees), vector_x and vector_y (its sine "
                "and cosine), directional (a hillshade lit from one side, magnetics that are not reduced to the pole). Values "
                "that mean no data, with commas between them, are those that the raster does not declare, such as -9999 or "
                "-32768."
            ),
            advanced=True,
        )
        self._number(
            self.LABEL_WIDTH,
            self.tr("Width of lines and points (map units)"),
            0.0,
            0,
            help=self.tr("Lines and points are widened to this width; 0 labels the pixels that they touch."),
            advanced=True,
        )
        self._number(
            self.CONTACT_BELT,
            self.tr("Belt along contacts to leave out (map units)"),
            0.0,
            0,
            help=self.tr(
                "Pixels so near to a line between two classes are not learnt from: contacts on small-scale maps are fuzzy."
            ),
            advanced=True,
        )
        self._choice(
            self.OVERLAP,
            self.tr("Where features of different classes overlap"),
            ["smallest", "leave out"],
            help=self.tr("The smallest feature counts (a dyke in its host rock), or such pixels are left out."),
        )
        self._number(
            self.SMALLEST_CLASS,
            self.tr("Smallest class (pixels)"),
            1,
            1,
            help=self.tr("Classes with fewer labelled pixels are left out or merged."),
            advanced=True,
        )
        self._choice(
            self.SMALL_CLASSES,
            self.tr("Smaller classes"),
            ["leave out", "merge"],
            help=self.tr("Whether smaller classes are left out or become one class, “other classes”."),
        )

    def _add_advanced_tiles(self) -> None:
        self._choice(
            self.SPLIT,
            self.tr("Split by"),
            ["blocks", "polygons", "random"],
            help=self.tr(
                "Blocks of space, the label layer's polygons, or single tiles at random. Random is optimistic: test tiles lie "
                "beside training tiles, and the report says so."
            ),
        )
        self._number(
            self.FOLDS,
            self.tr("Folds"),
            0,
            0,
            100,
            help=self.tr(
                "For cross-validation: blocks are dealt to so many folds, of which one is the test part. 0 for none."
            ),
            advanced=True,
        )
        self._number(
            self.TEST_FOLD,
            self.tr("Fold that is the test part"),
            0,
            0,
            help=self.tr("Number of the fold, from 0. Run the algorithm once for each fold."),
            advanced=True,
        )
        self._choice(
            self.CONTEXT,
            self.tr("Predictors in and near the test part"),
            ["visible", "hidden"],
            help=self.tr(
                "Visible: training tiles see the values there, never the labels, as context, as they will where a map is made "
                "of ground whose predictors are at hand. Hidden: they see no pixel of it; a stricter score, as for another "
                "region."
            ),
        )
        self._number(
            self.MIN_LABELLED,
            self.tr("Smallest labelled share of a tile (percent)"),
            0.0,
            0,
            100,
            help=self.tr(
                "Tiles with a smaller share of labelled pixels are left out; 0 keeps every tile with a labelled pixel."
            ),
            advanced=True,
        )
        self._choice(
            self.TILE_LABEL,
            self.tr("Class of a tile"),
            ["majority", "any"],
            help=self.tr(
                "For classifying whole tiles: the most frequent class, or any that occurs (the rarest of them)."
            ),
        )
        self._number(
            self.TILE_LABEL_SHARE,
            self.tr("Smallest share of the majority (percent)"),
            50.0,
            0,
            100,
            help=self.tr("A tile whose most frequent class has a smaller share of its labelled pixels has no class."),
            advanced=True,
        )
        self._choice(
            self.STORAGE,
            self.tr("Storage"),
            ["automatic", "mosaic", "stacked"],
            help=self.tr(
                "Mosaic keeps the area once, stacked keeps each tile by itself; automatic takes what is smaller."
            ),
        )

    def checkParameterValues(self, parameters: dict[str, Any], context: QgsProcessingContext) -> tuple[bool, str]:
        """Name the file that cannot be loaded: QGIS itself names only the parameter."""
        fine, why = super().checkParameterValues(parameters, context)
        if fine:
            return fine, why
        for name in (self.PREDICTORS, self.LABELS):
            values = parameters.get(name) or []
            for value in values if isinstance(values, (list, tuple)) else [values]:
                if isinstance(value, str) and QgsProcessingUtils.mapLayerFromString(value, context) is None:
                    what = (
                        self.tr("is no layer that QGIS can read")
                        if Path(value.split("|")[0]).exists()
                        else self.tr("does not exist")
                    )
                    sentence = self.tr("{} {}. Check the file in {}.")
                    return False, sentence.format(value, what, name)
        return fine, why

    def settings(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Return the job's settings, with the label layers' classes as they are drawn."""
        settings = super().settings(parameters, context, feedback)
        layers = self.parameterAsLayerList(parameters, self.LABELS, context)
        settings["labels"] = layer_paths(self, parameters, self.LABELS, context, feedback)
        if not settings.get("class_field"):
            settings["class_field"] = next((field for field in map(drawn_by_field, layers) if field), "")
        classes = [entry for layer in layers for entry in layer_classes(layer, settings["class_field"])]
        # A layer that is not drawn by class says nothing about which values are classes.
        if classes and all(layer_classes(layer, settings["class_field"]) for layer in layers):
            settings["classes"] = classes
        if "bands" in settings:
            settings["bands"] = self._bands(settings["bands"])
        return settings

    def processAlgorithm(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Run the job and have the footprints styled."""
        outputs = super().processAlgorithm(parameters, context, feedback)
        footprints = str(outputs.get(self.FOOTPRINTS, ""))
        if footprints:
            style_when_loaded(context, footprints, footprints.rpartition(".")[0] + ".qml", self.tr("Tiles"))
        return outputs

    def _bands(self, text: str) -> list[dict[str, Any]]:
        bands = []
        for line in text.strip().splitlines():
            parts = [part.strip() for part in line.split(";")]
            band: dict[str, Any] = dict(zip(("name", "unit", "kind"), parts))
            try:
                band["missing"] = [float(value) for value in "".join(parts[3:4]).split(",") if value.strip()]
            except ValueError:
                band = {}
            if len(parts) > 4 or not band:
                sentence = self.tr(
                    "BANDS has the line “{}”, but a line must read “name; unit; kind; values that mean no data”."
                )
                raise SettingsError(sentence.format(line))
            bands.append(band)
        return bands

    def _number(
        self,
        name: str,
        title: str,
        default: float,
        least: float,
        most: float = 1e12,
        *,
        help: str,
        advanced: bool = False,
    ) -> None:
        whole = isinstance(default, int)
        kind = QgsProcessingParameterNumber.Type.Integer if whole else QgsProcessingParameterNumber.Type.Double
        most = min(most, 2**31 - 1) if whole else most
        self.add(
            QgsProcessingParameterNumber(name, title, kind, defaultValue=default, minValue=least, maxValue=most),
            help=help,
            advanced=advanced,
        )

    def _choice(self, name: str, title: str, options: list[str], *, help: str) -> None:
        self.add(
            QgsProcessingParameterEnum(name, title, options, defaultValue=options[0], usesStaticStrings=True),
            help=help,
            advanced=True,
        )
