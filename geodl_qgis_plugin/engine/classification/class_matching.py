"""Which class of a map is which class of a reference: by name first, then by code where one side has no names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..classes import LandClass
from ..errors import LabelsError

_CODES = 65536


@dataclass(frozen=True, eq=False)
class ClassMatch:
    """
    Classes of both sides under common codes.

    ``classes`` are the map's in their order, then those that only the reference has; their codes count from 1. A table, indexed
    by a layer's own code, gives the common one, 0 for nodata.
    """

    classes: tuple[LandClass, ...]
    from_map: npt.NDArray[np.uint16]
    from_reference: npt.NDArray[np.uint16]
    only_mapped: tuple[str, ...]
    only_reference: tuple[str, ...]


def match_classes(mapped: Sequence[LandClass], reference: Sequence[LandClass]) -> ClassMatch:
    """
    Match the classes of a map and a reference.

    Names count as the same without regard to case and outer blanks. A code decides only where a class has no name but its code:
    1 "granite" and 1 "schist" are not the same.

    Raises
    ------
    LabelsError
        If no class is on both sides.
    """
    common = [LandClass(i, one.name, one.colour) for i, one in enumerate(mapped, start=1)]
    by_name = {_key(one.name): i for i, one in enumerate(mapped, start=1)}
    by_code = {one.code: i for i, one in enumerate(mapped, start=1)}
    from_map, from_reference = np.zeros(_CODES, np.uint16), np.zeros(_CODES, np.uint16)
    for one in mapped:
        from_map[one.code] = by_code[one.code]
    met = set()
    only_reference = []
    for one in reference:
        index = by_name.get(_key(one.name), 0)
        candidate = by_code.get(one.code, 0)
        if not index and candidate and (_is_nameless(one) or _is_nameless(mapped[candidate - 1])):
            index = candidate
            if _is_nameless(mapped[index - 1]):
                common[index - 1] = LandClass(index, one.name, common[index - 1].colour)
        if index:
            met.add(index)
        else:
            only_reference.append(one.name)
            index = len(common) + 1
            common.append(LandClass(index, one.name, one.colour))
        from_reference[one.code] = index
    if not met:
        raise LabelsError(
            f"No class of the map ({_listed(mapped)}) is among those of the reference ({_listed(reference)}). Give both the "
            "same names or, where one has no names, the same codes; check CLASS_FIELD."
        )
    only_mapped = tuple(one.name for i, one in enumerate(mapped, start=1) if i not in met)
    return ClassMatch(tuple(common), from_map, from_reference, only_mapped, tuple(only_reference))


def _key(name: str) -> str:
    return " ".join(name.casefold().split())


def _is_nameless(one: LandClass) -> bool:
    return one.name.strip() in ("", str(one.code))


def _listed(classes: Sequence[LandClass]) -> str:
    shown = [one.name if _is_nameless(one) else f"{one.code} {one.name}" for one in classes[:8]]
    return ", ".join(shown) + (", …" if len(classes) > 8 else "")
