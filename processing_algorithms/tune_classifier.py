"""geodl:tuneclassifier: settings tried on the validation part, and the best classifier of all."""

from typing import Any

from qgis.core import (
    QgsProcessing,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

from .training_parameters import TrainingAlgorithm


class TuneClassifier(TrainingAlgorithm):
    """Searches for the settings of a net with Optuna."""

    NAME, GROUP_ID = "tuneclassifier", "classification"
    NEEDS = ("torch", "sklearn", "safetensors", "optuna")
    TRIALS, STUDY, TRIALS_TABLE = "TRIALS", "STUDY", "TRIALS_TABLE"
    ARCHITECTURES = ("automatic", "unet", "pooled", "classic", "residual")

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Tune classifier")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr("Try many settings of a net on the validation part, and keep the best net.")

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>Optuna proposes architecture, widths, learning rate, weight decay, dropout, weight of rare classes, batch "
            "size, loss, label smoothing, noise, and whether tiles are turned and moved; each proposal is trained as “Train "
            "classifier” would, and scored by the mean of accuracy and macro-F1 in the validation part. A trial that is behind "
            "half of the others at the same stage is given up. The test part is seen once, by the best net, at the end.</p>"
            "<p>Several processes or machines may share one study: start the same tuning on each, with the same STUDY and tile "
            "set and an output of its own. The same command goes on after a cancel, a crash or a power cut; a trial whose "
            "process was killed is tried again from its last checkpoint. More TRIALS later go on with the same study.</p>"
            "<p>Think first: more tiles, other predictors or a better split often do more than other settings.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add_tile_set()
        self.add_number(
            self.TRIALS,
            self.tr("Trials"),
            self.WHOLE,
            30,
            self.tr("How many settings the study is to hold in the end, those that are in it already included."),
            minValue=1,
        )
        self.add(
            QgsProcessingParameterString(self.STUDY, self.tr("Study (file or database)"), optional=True),
            help=self.tr(
                "Where trials are kept. A file: SQLite, or, with the ending .journal, a journal, which is the safer one on a "
                "network disk that machines share. Or a database server's address, such as postgresql://user@host/name. Empty: "
                "a file beside the model."
            ),
        )
        self.add_number(
            self.EPOCHS,
            self.tr("Epochs of a trial (0: automatic)"),
            self.WHOLE,
            0,
            self.tr("How often a trial's net sees all training tiles. 0 chooses as many as about 3,000 batches need."),
            minValue=0,
        )
        self.add_number(
            self.MINUTES,
            self.tr("Minutes of a trial at most (0: no limit)"),
            self.REAL,
            0.0,
            self.tr("Time for the training of each trial. Scores then depend on the machine and what else it does."),
            minValue=0.0,
        )
        self.add_number(
            self.SEED,
            self.tr("Seed"),
            self.WHOLE,
            0,
            self.tr(
                "Start of all random choices: one process comes to the same study with the same seed, also when it was killed "
                "on the way."
            ),
            minValue=0,
        )
        self.add_choice(
            self.ARCHITECTURE,
            self.tr("Architecture"),
            self.ARCHITECTURES,
            self.tr("A net to tune. “automatic” tries all that fit the task."),
            advanced=True,
        )
        self.add_choice(
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
            self.add_switch(name, text, True, help)
        self.add_model_and_report(
            self.tr("The best net, with its scores in the test part."),
            self.tr("The report of the best net, and how the trials went: Optuna's own plots."),
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
        self.add_scores(
            ("VALIDATION_SCORE", self.tr("Score of the best trial in the validation part")),
            ("BEST_TRIAL", self.tr("Number of the best trial")),
        )
