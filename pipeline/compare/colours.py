"""One colour for each run, the same in the page, in its charts and in the PNGs."""

# Hues far apart, of a middle lightness that is clear on white as on dark grey. The first eight are Okabe and Ito's
# ("Color Universal Design", 2008) as far as those are neither black nor pale.
RUN_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#a6761d", "#d7497e", "#5d8a2f",
    "#4c72c4", "#7f7f7f",
)  # fmt: skip
OTHERS = "#9a9a9a"  # runs after those


def run_colour(place: int) -> str:
    """The colour of the run at this place of the ranking."""
    return RUN_COLOURS[place] if place < len(RUN_COLOURS) else OTHERS
