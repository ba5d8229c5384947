import matplotlib as mpl
from matplotlib.figure import Figure

from eloquent.report.svg import INK, STYLE, inline


def drawn(text="label", colour="#0072b2"):
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4, 3))
        place = figure.subplots()
        place.plot([0, 1], [0, 1], "o-", color=colour)
        place.annotate(text, (0, 0), color=INK, weight="bold")
        return inline(figure, name="plot", title='a "title" <b>', colours={"#0072b2": "var(--s0)"})


def test_colours_and_fonts_are_the_pages():
    svg = drawn()
    assert "var(--s0)" in svg
    assert "var(--ink)" in svg
    assert "#0072b2" not in svg
    assert INK not in svg
    assert "DejaVu" not in svg
    assert "font-weight: 700" in svg


def test_identifiers_carry_the_name_of_the_drawing():
    svg = drawn()
    assert 'id="plot-axes_1"' in svg
    assert "url(#plot-" in svg
    assert 'href="#plot-' in svg


def test_nothing_points_outside():
    svg = drawn()
    assert svg.startswith("<svg viewBox=")
    assert not any(word in svg for word in ("://", "<!DOCTYPE", "<metadata", "<style", "xmlns", "<!--"))


def test_text_is_text():
    svg = drawn("<script>$x^2$ & --></script>")
    assert "&lt;script&gt;$x^2$ &amp; --&gt;&lt;/script&gt;" in svg
    assert 'aria-label="a &quot;title&quot; &lt;b&gt;"' in svg
