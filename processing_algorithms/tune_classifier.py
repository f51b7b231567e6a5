"""geodl:tuneclassifier: settings tried on the validation part, and the best classifier of all."""

from typing import Any

from qgis.core import (
    Qgis,
    QgsProcessing,
    QgsProcessingOutputNumber,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterEnum,
    QgsProcessingParameterFile,
    QgsProcessingParameterFileDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from .base import GeoDLAlgorithm


class TuneClassifier(GeoDLAlgorithm):
    """Searches for the settings of a net with Optuna."""

    NAME, GROUP_ID = "tuneclassifier", "classification"
    NEEDS = ("torch", "sklearn", "safetensors", "optuna")
    TILES, TASK, TRIALS, STUDY, ARCHITECTURE = "TILES", "TASK", "TRIALS", "STUDY", "ARCHITECTURE"
    EPOCHS, MINUTES, SEED, PRECISION, FOREST, RESUME = "EPOCHS", "MINUTES", "SEED", "PRECISION", "FOREST", "RESUME"
    OUTPUT, REPORT, TRIALS_TABLE = "OUTPUT", "REPORT", "TRIALS_TABLE"
    TASKS = ("each pixel", "each tile")
    ARCHITECTURES = ("automatic", "unet", "pooled", "classic", "residual")
    PRECISIONS = ("automatic", "float32", "bfloat16")

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Tune classifier")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr("Try many settings of a net on the validation part, and keep the best net.")

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>Optuna proposes architecture, widths, learning rate, weight decay, dropout, weight of rare classes, batch size "
            "and whether tiles are turned; each proposal is trained as “Train classifier” would, and scored by the mean of "
            "accuracy and macro-F1 in the validation part. A trial that is behind half of the others at the same stage is "
            "given up. The test part is seen once, by the best net, at the end.</p>"
            "<p>Several processes or machines may share one study: start the same tuning on each, with the same STUDY and tile "
            "set and an output of its own. The same command goes on after a cancel, a crash or a power cut; a trial whose "
            "process was killed is tried again from its last checkpoint. More TRIALS later go on with the same study.</p>"
            "<p>Think first: more tiles, other predictors or a better split often do more than other settings.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        whole, real = Qgis.ProcessingNumberParameterType.Integer, Qgis.ProcessingNumberParameterType.Double
        self.add(
            QgsProcessingParameterFile(self.TILES, self.tr("Tile set"), Qgis.ProcessingFileParameterBehavior.Folder),
            help=self.tr("Folder that “Extract tiles” made."),
        )
        self._add_choice(
            self.TASK,
            self.tr("Classify"),
            self.TASKS,
            self.tr("Whether each pixel gets a class, or each tile as a whole."),
        )
        self.add(
            QgsProcessingParameterNumber(self.TRIALS, self.tr("Trials"), whole, 30, minValue=1),
            help=self.tr("How many settings the study is to hold in the end, those that are in it already included."),
        )
        self.add(
            QgsProcessingParameterString(self.STUDY, self.tr("Study (file or database)"), optional=True),
            help=self.tr(
                "Where trials are kept. A file: SQLite, or, with the ending .journal, a journal, which is the safer one on a "
                "network disk that machines share. Or a database server's address, such as postgresql://user@host/name. Empty: "
                "a file beside the model."
            ),
        )
        self.add(
            QgsProcessingParameterNumber(
                self.EPOCHS, self.tr("Epochs of a trial (0: automatic)"), whole, 0, minValue=0
            ),
            help=self.tr(
                "How often a trial's net sees all training tiles. 0 chooses as many as about 3,000 batches need."
            ),
        )
        self.add(
            QgsProcessingParameterNumber(
                self.MINUTES, self.tr("Minutes of a trial at most (0: no limit)"), real, 0.0, minValue=0.0
            ),
            help=self.tr(
                "Time for the training of each trial. Scores then depend on the machine and what else it does."
            ),
        )
        self.add(
            QgsProcessingParameterNumber(self.SEED, self.tr("Seed"), whole, 0, minValue=0),
            help=self.tr(
                "Start of all random choices: one process comes to the same study with the same seed, also when it was killed "
                "on the way."
            ),
        )
        self._add_choice(
            self.ARCHITECTURE,
            self.tr("Architecture"),
            self.ARCHITECTURES,
            self.tr("A net to tune. “automatic” tries all that fit the task."),
            advanced=True,
        )
        self._add_choice(
            self.PRECISION,
            self.tr("Precision"),
            self.PRECISIONS,
            self.tr("As of “Train classifier”: “bfloat16” is about twice as fast on processors that have it."),
            advanced=True,
        )
        for name, text, help in (
            (self.FOREST, self.tr("Train a forest beside the best net"), self.tr("A random forest to compare with.")),
            (
                self.RESUME,
                self.tr("Go on with trials that were broken off"),
                self.tr(
                    "Off: their checkpoints are thrown away. The study itself always goes on; name another one to start anew."
                ),
            ),
        ):
            self.add(QgsProcessingParameterBoolean(name, text, True), help=help, advanced=True)
        self.add(
            QgsProcessingParameterFileDestination(self.OUTPUT, self.tr("Model"), self.tr("GeoDL model (*.geodl)")),
            help=self.tr("The best net, with its scores in the test part."),
        )
        self.add(
            QgsProcessingParameterFileDestination(
                self.REPORT, self.tr("Report"), self.tr("Web page (*.html)"), optional=True, createByDefault=True
            ),
            help=self.tr("The report of the best net, and how the trials went: Optuna's own plots."),
        )
        self.add(
            QgsProcessingParameterVectorDestination(
                self.TRIALS_TABLE,
                self.tr("Table of trials"),
                QgsProcessing.SourceType.TypeVector,
                optional=True,
                createByDefault=False,
            ),
            help=self.tr("One row a trial: its settings, state and scores in the validation part, and why it failed."),
        )
        for name, text in (
            ("ACCURACY", self.tr("Accuracy on the test part")),
            ("MACRO_F1", self.tr("Macro-F1 on the test part")),
            ("KAPPA", self.tr("Kappa on the test part")),
            ("VALIDATION_SCORE", self.tr("Score of the best trial in the validation part")),
            ("BEST_TRIAL", self.tr("Number of the best trial")),
        ):
            self.add_output(QgsProcessingOutputNumber(name, text))

    def _add_choice(self, name: str, text: str, choices: tuple[str, ...], help: str, *, advanced: bool = False) -> None:
        parameter = QgsProcessingParameterEnum(
            name, text, list(choices), defaultValue=choices[0], usesStaticStrings=True
        )
        self.add(parameter, help=help, advanced=advanced)
