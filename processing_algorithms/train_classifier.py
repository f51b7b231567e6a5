"""geodl:trainclassifier: from a tile set to a model, with an honest report."""

from functools import partial
from typing import Any

from qgis.core import (
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterString,
)

from geodl_qgis_plugin.engine.errors import SettingsError

from .training_parameters import TrainingAlgorithm


class TrainClassifier(TrainingAlgorithm):
    """Trains a convolutional net on a tile set."""

    NAME, GROUP_ID = "trainclassifier", "classification"
    BATCH_SIZE, LEARNING_RATE, PATIENCE = "BATCH_SIZE", "LEARNING_RATE", "PATIENCE"
    CLASS_WEIGHT, WEIGHT_DECAY, AUGMENT, DROPOUT, WIDTHS = (
        "CLASS_WEIGHT",
        "WEIGHT_DECAY",
        "AUGMENT",
        "DROPOUT",
        "WIDTHS",
    )
    FIND_LEARNING_RATE = "FIND_LEARNING_RATE"
    LOSS, FOCAL_GAMMA, LABEL_SMOOTHING, BALANCE = "LOSS", "FOCAL_GAMMA", "LABEL_SMOOTHING", "BALANCE"
    NOISE, GAIN, BAND_DROPOUT = "NOISE", "GAIN", "BAND_DROPOUT"
    ENSEMBLE, CROSS_VALIDATION = "ENSEMBLE", "CROSS_VALIDATION"
    LOSSES = ("cross-entropy", "focal", "dice")
    ARCHITECTURES = ("automatic", "unet", "surroundings", "pooled", "classic", "residual", "forest", "extra trees")

    def displayName(self) -> str:
        """Return the name in the toolbox."""
        return self.tr("Train classifier")

    def shortDescription(self) -> str:
        """Return one sentence."""
        return self.tr(
            "Train a classifier on tiles, a convolutional net or what does better, and score it where it has not been, "
            "beside a random forest."
        )

    def about(self) -> str:
        """Return further help."""
        return self.tr(
            "<p>The net learns from the training part of the tile set; the validation part decides which state is kept and "
            "when to stop; the test part is seen once, at the end. The report says first whether the net or the forest is the "
            "better of the two there.</p>"
            "<p>“each pixel” gives every pixel a class, “each tile” one to a whole tile. Several kinds of model are tried, of "
            "which the validation part keeps the best; where all bands are elevations these are a U-Net and a forest. "
            "Elevation is never learnt as such: the net sees it less its mean nearby, and as lines of sight.</p>"
            "<p>Cancelling keeps the best state so far. The same command then goes on from there, as after a crash or a "
            "power cut, to the same net as without the break.</p>"
        )

    def initAlgorithm(self, config: dict[str, Any] | None = None) -> None:
        """Define the parameters."""
        self.add_tile_set()
        self.add_choice(
            self.ARCHITECTURE,
            self.tr("Architecture"),
            self.ARCHITECTURES,
            self.tr(
                "What is trained. Automatic tries several and keeps what does best on the validation part, which may be the "
                "mean of them: forests and nets on tiles; surroundings and a U-Net on pixels, or a U-Net and a forest where "
                "all bands are elevations. “unet” is for pixels and sees forms; “surroundings”, for pixels too, are small "
                "nets, a forest and extra trees on means and spreads in windows to 301 pixels, averaged: the better choice for "
                "large bodies in noisy predictors. “pooled”, “classic” (with weights for every position of its dense layer) "
                "and “residual” (deeper; also for tiles of a few pixels) are for tiles. “forest” and “extra trees” are for "
                "both: many decision trees on the values and their means and spreads in windows of 5 to 121 pixels (on the "
                "terrain, of an elevation), the latter with thresholds drawn at random. They are grown in minutes, and often "
                "the better choice where training areas are few."
            ),
        )
        self.add_number(
            self.EPOCHS,
            self.tr("Epochs (0: automatic)"),
            self.WHOLE,
            0,
            self.tr(
                "How often the net sees all training tiles. 0 chooses as many as about 3,000 batches need, 60 for tiles under "
                "16 pixels. Where several nets are tried they share it, as they do the minutes."
            ),
            minValue=0,
        )
        self.add_number(
            self.MINUTES,
            self.tr("Minutes at most (0: no limit)"),
            self.REAL,
            0.0,
            self.tr(
                "Time for training. The learning rate falls with the time, so that the net is ready when it is over; how far "
                "it gets then depends on the machine, and two runs differ."
            ),
            minValue=0.0,
        )
        self.add_number(
            self.BATCH_SIZE,
            self.tr("Batch size (tiles, 0: automatic)"),
            self.WHOLE,
            16,
            self.tr(
                "Tiles that are learnt from at once; of tiles under 16 pixels, four times as many. Smaller batches need less "
                "memory. 0 chooses by the task, the number of tiles and the memory that is free."
            ),
            minValue=0,
        )
        self.add_number(
            self.SEED,
            self.tr("Seed"),
            self.WHOLE,
            0,
            self.tr("Start of all random choices: the same seed on the same tiles gives the same net."),
            minValue=0,
        )
        self._add_advanced()
        self.add_model_and_report(
            self.tr("One file that holds all that is needed to map with the model; it can be sent to others."),
            self.tr(
                "One web page, which shows how training goes while it does, and then: scores beside the forest's, confusion, "
                "learning curves, map of the split."
            ),
        )
        self.add_scores(
            ("FOREST_ACCURACY", self.tr("Accuracy of the forest")),
            ("FOREST_KAPPA", self.tr("Kappa of the forest")),
            ("FOREST_MACRO_F1", self.tr("Macro-F1 of the forest")),
            ("MAJORITY_ACCURACY", self.tr("Accuracy of always naming the most frequent class")),
        )

    def _add_advanced(self) -> None:
        number, whole, real = partial(self.add_number, advanced=True), self.WHOLE, self.REAL
        number(
            self.LEARNING_RATE,
            self.tr("Learning rate (0: automatic)"),
            real,
            0.0,
            self.tr(
                "Largest step of the optimiser (AdamW); it rises at first and then falls along a cosine. 0 takes 0.01 for the "
                "U-Net, 0.002 for the residual net and 0.001 for the other tile nets; try a third of that where training loses "
                "its way."
            ),
            minValue=0.0,
            maxValue=1.0,
        )
        self.add_switch(
            self.FIND_LEARNING_RATE,
            self.tr("Look for a learning rate first"),
            False,
            self.tr(
                "Tries rising rates on a hundred batches and takes the one at which the loss fell fastest; the report shows "
                "the curve."
            ),
        )
        number(
            self.PATIENCE,
            self.tr("Patience (epochs, 0: automatic)"),
            whole,
            0,
            self.tr("Stop when the validation part has not got better for so many epochs. 0 waits a quarter of all."),
            minValue=0,
        )
        number(
            self.CLASS_WEIGHT,
            self.tr("Weight of rare classes (0 to 1, -1: automatic)"),
            real,
            -1.0,
            self.tr(
                "0 counts all pixels alike; 1 counts all classes alike, however rare; 0.5 lies between. Automatic is 0 for "
                "nets and 0.5 for forests."
            ),
            minValue=-1.0,
            maxValue=1.0,
        )
        number(
            self.WEIGHT_DECAY,
            self.tr("Weight decay"),
            real,
            0.01,
            self.tr("How strongly weights are held small. More of it helps where training areas are few."),
            minValue=0.0,
            maxValue=1.0,
        )
        number(
            self.DROPOUT,
            self.tr("Dropout (0 to 0.9, -1: automatic)"),
            real,
            -1.0,
            self.tr(
                "Share of the deepest features left out at random while training, against learning by heart. Automatic is 0.3 "
                "for the residual net and 0 for others."
            ),
            minValue=-1.0,
            maxValue=0.9,
        )
        self.add(
            QgsProcessingParameterString(self.WIDTHS, self.tr("Widths of the U-Net"), "16, 24, 32, 48"),
            help=self.tr(
                "Channels at full resolution and after each halving. More and wider ones learn more, and are slower."
            ),
            advanced=True,
        )
        self.add_switch(
            self.AUGMENT,
            self.tr("Turn, mirror and move tiles"),
            True,
            self.tr(
                "Shows each tile in all orientations that keep its bands true (none with a hillshade lit from one side)."
            ),
        )
        self._add_losses()
        self._add_alterations()
        number(
            self.ENSEMBLE,
            self.tr("Members of an ensemble"),
            whole,
            1,
            self.tr(
                "Trains so many classifiers from different seeds and maps the mean of their probabilities: mostly better, and "
                "less sure where they disagree. It takes so many times as long; MINUTES are shared among them."
            ),
            minValue=1,
            maxValue=50,
        )
        number(
            self.CROSS_VALIDATION,
            self.tr("Folds of a cross-validation (0: none)"),
            whole,
            0,
            self.tr(
                "Afterwards trains anew on so many folds of space, three or more, each once the test part, and once more on a "
                "random split, whose score is optimistic. The report shows all of them, pooled and with their spread. Each "
                "takes as long as the training itself. Test areas that you drew stay out of it."
            ),
            minValue=0,
            maxValue=100,
        )
        self.add_switch(
            self.FOREST,
            self.tr("Train a forest beside the net"),
            True,
            self.tr("A random forest on the same labels and split, to compare with."),
        )
        self.add_choice(
            self.PRECISION,
            self.tr("Precision"),
            self.PRECISIONS,
            self.tr(
                "“bfloat16” works out convolutions with fewer digits: about twice as fast on processors with AVX512-BF16 or "
                "AMX. “automatic” takes it on graphics cards that have it, and float32 on the processor."
            ),
            advanced=True,
        )
        self.add_switch(
            self.RESUME,
            self.tr("Go on with a run that was broken off"),
            True,
            self.tr(
                "Where the same command was broken off or cancelled, training goes on from there; a power cut costs a minute."
            ),
        )

    def _add_losses(self) -> None:
        self.add_choice(
            self.LOSS,
            self.tr("Loss"),
            self.LOSSES,
            self.tr(
                "What training makes smaller. “focal” counts places that are already right for less, “dice” adds the share "
                "of each class that map and reference do not have in common: both for classes that are rare or hard."
            ),
            advanced=True,
        )
        for name, text, default, most, help in (
            (
                self.FOCAL_GAMMA,
                self.tr("Focus of the focal loss (0 to 10)"),
                2.0,
                10.0,
                self.tr("How much less places count that are already right; 0 is cross-entropy."),
            ),
            (
                self.LABEL_SMOOTHING,
                self.tr("Label smoothing (0 to 0.5)"),
                0.0,
                0.5,
                self.tr("Share of the truth that is dealt to all classes, for labels that are not all right."),
            ),
            (
                self.BALANCE,
                self.tr("Choose tiles of rare classes more often (0 to 1)"),
                0.0,
                1.0,
                self.tr(
                    "0 shows each tile once an epoch; 1 draws tiles so that classes are shown as often as each other."
                ),
            ),
        ):
            self.add_number(name, text, self.REAL, default, help, advanced=True, minValue=0.0, maxValue=most)

    def _add_alterations(self) -> None:
        for name, text, most, help in (
            (
                self.NOISE,
                self.tr("Noise on training tiles (spreads)"),
                2.0,
                self.tr("Added to every pixel of bands that are no elevation, in the band's standard deviations."),
            ),
            (
                self.GAIN,
                self.tr("Change of brightness and contrast (spreads)"),
                2.0,
                self.tr(
                    "How much a band of a training tile is stretched and shifted at random, for images whose brightness "
                    "differs. Elevations, azimuths and vectors are left alone."
                ),
            ),
            (
                self.BAND_DROPOUT,
                self.tr("Share of bands left out at random"),
                0.9,
                self.tr("Bands of a training tile that count as nodata, so that the net does not rest on one alone."),
            ),
        ):
            self.add_number(name, text, self.REAL, 0.0, help, advanced=True, minValue=0.0, maxValue=most)

    def settings(
        self, parameters: dict[str, Any], context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> dict[str, Any]:
        """Return the job's settings, with the widths as numbers."""
        settings = super().settings(parameters, context, feedback)
        text = str(settings.get("widths", ""))
        try:
            settings["widths"] = [int(part) for part in text.replace(";", ",").replace(",", " ").split()]
        except ValueError as error:
            sentence = self.tr("WIDTHS is “{}”, but must be whole numbers separated by commas, such as 16, 24, 32, 48.")
            raise SettingsError(sentence.format(text)) from error
        return settings
