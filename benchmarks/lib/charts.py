"""Draw curves over axes as SVG, in the look of the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rpcguard._commands.demo.svg import STYLE, line, text

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH, LEFT, RIGHT, TOP = 760.0, 58.0, 130.0, 44.0

Point = tuple[float, float]


def picture(height: float, parts: Iterable[str]) -> str:
    """Put a whole SVG together."""
    page = f'<rect class="page" width="{WIDTH:g}" height="{height:g}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture" viewBox="0 0 {WIDTH:g} '
        f'{height:g}">\n<style>{STYLE}</style>\n{page}\n' + "\n".join(parts) + "\n</svg>\n"
    )


def curve(points: Iterable[Point], color: str) -> str:
    """Draw a line through points."""
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{told}" style="fill:none;stroke:{color};stroke-width:2.2"/>'


class Chart:
    """Axes with the names of their units, and curves that carry their own."""

    def __init__(self, *, title: str, x: str, y: str, right: float, top: float) -> None:
        self.height = 300.0
        self._right, self._top = right, top
        self._bottom = self.height - 46.0
        self._edge = WIDTH - RIGHT
        self.parts = [
            text(LEFT - 34, 24, title, look="title"),
            text((LEFT + self._edge) / 2, self.height - 8, x, look="soft middle"),
            text(LEFT - 34, TOP - 6, y, look="soft"),
        ]

    def at(self, x: float, y: float) -> Point:
        """Give the place of a value."""
        across = LEFT + (self._edge - LEFT) * x / self._right
        return across, self._bottom - (self._bottom - TOP) * y / self._top

    def grid(self, xs: Iterable[float], ys: Iterable[float], *, unit: str = "") -> None:
        """Draw the lines of the axes, with their values."""
        for x in xs:
            across, down = self.at(x, 0)
            self.parts += [
                line(across, TOP, across, down, look="grid"),
                text(across, down + 18, f"{x:g}", look="small soft middle"),
            ]
        for y in ys:
            across, down = self.at(0, y)
            self.parts += [
                line(across, down, self._edge, down, look="grid"),
                text(across - 8, down + 4, f"{y:g}{unit}", look="small soft end"),
            ]

    def draw(self, name: str, points: list[Point], color: str, *, shift: float = 0.0) -> None:
        """Draw a curve, its name at its end."""
        placed = [self.at(x, min(y, self._top)) for x, y in points]
        across, down = placed[-1]
        self.parts += [
            curve(placed, color),
            text(across + 8, down + 4 + shift, name, look="small"),
        ]

    def svg(self) -> str:
        """Give the finished chart."""
        return picture(self.height, self.parts)
