"""Packages that only some jobs need, imported where they are used."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from ..errors import EnvironmentProblem


def needed_package(name: str, purpose: str, extra: str = "magnetics") -> Any:
    """
    Import and return a package; ``purpose`` names what needs it ("Gridding"), ``extra`` the extra of pip that brings it.

    Raises
    ------
    EnvironmentProblem
        If it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise EnvironmentProblem(
            f"{purpose} need the Python package {error.name}, which {sys.executable} does not have. Run geodl:setup "
            f"with INSTALL set to yes, or install the extra with pip: geodl[{extra}]."
        ) from error
