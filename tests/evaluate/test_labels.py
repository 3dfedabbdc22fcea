"""Text and legends in images."""

import numpy as np

from pipeline.evaluate.labels import INK, fit_text, font, legend, tile


def test_text_is_ascii_and_fits() -> None:
    assert fit_text("Bäume \N{EN DASH} été\n第", 14, 1000) == "Baume - ete ?"
    cut = fit_text("a name that is far too long", 14, 100)
    assert cut.endswith("...")
    assert cut.startswith("a name")
    assert font(14).getlength(cut) <= 100


def test_a_legend_has_a_swatch_of_each_colour() -> None:
    image = np.asarray(legend([[(tile((200, 0, 0)), "one"), (tile((0, 0, 200)), "two")]], letter=16, width=300))
    assert image.shape == (20, 300, 3)
    red, blue = ((image == colour).all(axis=2) for colour in ((200, 0, 0), (0, 0, 200)))
    assert red.sum() == blue.sum() == 12 * 12  # 14 x 14 without the frame
    assert np.argwhere(red)[:, 1].max() < np.argwhere(blue)[:, 1].min()
    assert (image == INK).all(axis=2).any()


def test_long_rows_of_a_legend_continue_on_further_lines() -> None:
    entries = [(tile((200, 0, 0)), f"class number {index}") for index in range(9)]
    one, many = legend([entries[:1]], 16, 300), legend([entries], 16, 300)
    assert many.width == one.width == 300 and many.height > 4 * one.height
    assert legend([entries[:1], entries[1:2]], 16, 300).height > legend([entries[:2]], 16, 300).height
    wide = legend([[(tile((200, 0, 0)), "long name " * 90)]], 16, 300)
    assert wide.size == (300, 20)
