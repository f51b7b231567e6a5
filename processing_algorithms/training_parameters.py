"""The parameters that training a classifier and tuning one share."""

from qgis.core import (
    Qgis,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
)

from .base import GeoDLAlgorithm


class TrainingAlgorithm(GeoDLAlgorithm):
    """An algorithm that trains on a tile set, and writes a model and its report."""

    TILES, TASK, ARCHITECTURE, EPOCHS, MINUTES = "TILES", "TASK", "ARCHITECTURE", "EPOCHS", "MINUTES"
    SEED, PRECISION, FOREST, RESUME, OUTPUT, REPORT = "SEED", "PRECISION", "FOREST", "RESUME", "OUTPUT", "REPORT"
    TASKS = ("each pixel", "each tile")
    PRECISIONS = ("automatic", "float32", "bfloat16")

    def add_switch(self, name: str, text: str, default: bool, help: str) -> None:
        """Add an advanced yes or no."""
        self.add(QgsProcessingParameterBoolean(name, text, default), help=help, advanced=True)

    def add_tile_set(self) -> None:
        """Add what is learnt from, and what gets a class."""
        self.add(
            QgsProcessingParameterFile(self.TILES, self.tr("Tile set"), Qgis.ProcessingFileParameterBehavior.Folder),
            help=self.tr("Folder that “Extract tiles” made."),
        )
        help = self.tr("Whether each pixel gets a class, or each tile as a whole.")
        self.add_choice(self.TASK, self.tr("Classify"), self.TASKS, help)

    def add_model_and_report(self, model: str, report: str) -> None:
        """Add where the results go, with what is said of each."""
        self.add(
            QgsProcessingParameterFileDestination(self.OUTPUT, self.tr("Model"), self.tr("GeoDL model (*.geodl)")),
            help=model,
        )
        self.add(
            QgsProcessingParameterFileDestination(
                self.REPORT, self.tr("Report"), self.tr("Web page (*.html)"), optional=True, createByDefault=True
            ),
            help=report,
        )

    def add_scores(self, *further: tuple[str, str]) -> None:
        """Add the scores on the test part as outputs, and further numbers by name."""
        for name, text in (
            ("ACCURACY", self.tr("Accuracy on the test part")),
            ("MACRO_F1", self.tr("Macro-F1 on the test part")),
            ("KAPPA", self.tr("Kappa on the test part")),
            *further,
        ):
            self.add_output(QgsProcessingOutputNumber(name, text))
