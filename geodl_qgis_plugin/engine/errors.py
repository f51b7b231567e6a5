"""The errors that a user reads: each is a sentence that says what was found, what is needed and what to do."""

from __future__ import annotations


class GeoDLError(Exception):
    """Something that the user can put right; the text is shown as it stands."""


class SettingsError(GeoDLError, ValueError):
    """A setting is missing, unknown or outside its range."""


class SourceError(GeoDLError, OSError):
    """A file or layer cannot be opened or is not what it should be."""


class OutputError(GeoDLError, OSError):
    """An output cannot be written: no such folder, no permission, no space."""


class GridError(GeoDLError, ValueError):
    """Grids do not fit each other: no overlap, no CRS, degrees where metres are needed."""


class NoOverlapError(GridError):
    """What was chosen of a raster, by an extent or a mask, lies elsewhere."""


class BandMismatchError(GeoDLError, ValueError):
    """A raster's bands are not those that a model was trained on."""


class LabelsError(GeoDLError, ValueError):
    """Labels that cannot be learnt from: none inside the raster, one class only, an empty class field."""


class SplitError(GeoDLError, ValueError):
    """The area cannot be parted into training, validation and test blocks as asked."""


class TileSetError(GeoDLError, ValueError):
    """A folder is no tile set, or one that is damaged or of a later version."""


class ModelFileError(GeoDLError, ValueError):
    """A file is no GeoDL model, or one that was cut short or altered."""


class SeriesError(GeoDLError, ValueError):
    """Station series that cannot be forecast: no times, too short, constant, mixed frequencies."""


class EnvironmentProblem(GeoDLError, ImportError):
    """A package that the job needs is not installed."""


class LostRankError(GeoDLError, RuntimeError):
    """Another process of a job under torchrun is gone."""


class ClusterError(GeoDLError, RuntimeError):
    """A Dask cluster does not answer, has other versions, or lost too many workers."""


class Cancelled(GeoDLError):
    """The user stopped the job and nothing could be kept."""
