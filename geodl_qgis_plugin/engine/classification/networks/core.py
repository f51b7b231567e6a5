"""The core of a window, which is mapped, and its halo, of which a net need only work out what the core's pixels see."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

Core = tuple[slice, slice]  # rows and columns of a window, with start and stop


class Part(NamedTuple):
    """Rows from top to bottom and columns from left to right, ends left out."""

    top: int
    bottom: int
    left: int
    right: int

    @classmethod
    def of_core(cls, core: Core) -> Part:
        """Return the part that a core is."""
        rows, columns = core
        return cls(rows.start, rows.stop, columns.start, columns.stop)

    def grown(self, by: int, height: int, width: int) -> Part:
        """Return it with so much more to all sides, as far as there is anything."""
        return Part(
            max(self.top - by, 0),
            min(self.bottom + by, height),
            max(self.left - by, 0),
            min(self.right + by, width),
        )

    def halved(self) -> Part:
        """Return the pixels of half the resolution that it touches."""
        return Part(self.top // 2, -(-self.bottom // 2), self.left // 2, -(-self.right // 2))

    def doubled(self) -> Part:
        """Return what it is at twice the resolution."""
        return Part(*(2 * number for number in self))

    def even(self) -> Part:
        """Return it with even ends."""
        return self.halved().doubled()

    def joined(self, other: Part) -> Part:
        """Return what holds both."""
        return Part(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
        )

    def shared(self, other: Part) -> Part | None:
        """Return what lies in both, if anything does."""
        both = Part(
            max(self.top, other.top),
            min(self.bottom, other.bottom),
            max(self.left, other.left),
            min(self.right, other.right),
        )
        return both if both.top < both.bottom and both.left < both.right else None

    def within(self, outer: Part) -> Core:
        """Return its place in another part that holds it."""
        rows = slice(self.top - outer.top, self.bottom - outer.top)
        return rows, slice(self.left - outer.left, self.right - outer.left)


def logits_of_core(net: nn.Module, values: Tensor, core: Core) -> Tensor:
    """
    Return the logits (batch, class, row, column) of a window's core.

    A net that has a method ``of_core`` leaves out what only the halo would need; of any other the whole window is worked out.

    Parameters
    ----------
    values : tensor (batch, band, row, column)
        Of the window with its halo.
    """
    own = getattr(net, "of_core", None)
    logits: Tensor = net(values)[:, :, core[0], core[1]] if own is None else own(values, core)
    return logits
