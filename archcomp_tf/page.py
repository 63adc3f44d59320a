"""A page of HTML that needs nothing beside it: style, tables, figures.

It opens from the disk, in light and in dark, on a phone and on paper.  The few
lines of script name what is under the pointer at once, and on a touch screen at
all; without them the browser's own hint does it.

Only the standard library is needed here.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f5f7f9; --ink: #16191d; --soft: #59626e;
  --line: #dce1e7; --student: #0a66c2; --teacher: #4b5563;
  --width_scaled: #c2410c; --random_search: #7e3fb4; --other: #0f766e;
  --label: #8a95a3;
  --q0: #dbe9a0; --q1: #8ccf8f; --q2: #3da695; --q3: #276f8e; --q4: #33306b;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #121519; --panel: #1a1f25; --ink: #e9ecef; --soft: #a0a9b4;
    --line: #2d343c; --student: #58acff; --teacher: #b4bcc6;
    --width_scaled: #ff9457; --random_search: #c79bf2; --other: #3fc1b0;
    --label: #727d8a;
    --q0: #3d3a78; --q1: #2f6f92; --q2: #37a093; --q3: #84cb86; --q4: #eef0a4;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto,
    "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 56rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 {
  font-size: clamp(1.7rem, 4.5vw, 2.6rem); line-height: 1.15; margin: .2em 0;
  letter-spacing: -.02em; max-width: 44rem;
}
h2 {
  font-size: 1.3rem; letter-spacing: -.01em; margin: 3.2rem 0 .6rem;
  padding-top: 1.2rem; border-top: 1px solid var(--line);
}
p { max-width: 44rem; margin: .6em 0; }
.kicker, figcaption, caption, .note, small { color: var(--soft); }
.kicker { margin: 0; font-size: .95rem; }
code, pre { font: .88em/1.5 ui-monospace, Menlo, Consolas, monospace; }
code { overflow-wrap: anywhere; }
pre { overflow-x: auto; background: var(--panel); padding: 1rem; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: .8rem; margin: 1.8rem 0; padding: 0; list-style: none;
}
.tiles li {
  background: var(--panel); border-radius: 10px; padding: 1rem 1.1rem;
  display: flex; flex-direction: column;
}
.tiles b {
  font-size: 2rem; line-height: 1.15; letter-spacing: -.02em;
  color: var(--student);
}
.tiles strong { font-weight: 600; margin-bottom: .4rem; }
.tiles span { color: var(--soft); font-size: .87rem; line-height: 1.4; }
.scroll { overflow-x: auto; }
table {
  border-collapse: collapse; width: 100%; font-size: .93rem;
  font-variant-numeric: tabular-nums;
}
caption {
  text-align: left; padding: 0 0 .5rem; font-size: .9rem;
  max-width: calc(100vw - 2.5rem);
}
th, td {
  text-align: right; padding: .45rem .6rem; vertical-align: top;
  border-bottom: 1px solid var(--line);
}
td { white-space: nowrap; }
td.text { white-space: normal; }
thead th { color: var(--soft); font-weight: 500; vertical-align: bottom; }
th:first-child, td.text, th.text { text-align: left; }
tbody th { font-weight: 500; }
tr.student > * { font-weight: 650; }
tr.student th { color: var(--student); }
tfoot > tr > * { font-weight: 650; border-bottom: 0; }
figure { margin: 1.6rem 0; max-width: 46rem; container-type: inline-size; }
figure > svg { width: 100%; height: auto; display: block; overflow: visible; }
figcaption { font-size: .9rem; max-width: 44rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1.5rem; }
output:not(:empty) {
  position: fixed; inset: auto 0 0 0; padding: .6rem 1.25rem; z-index: 1;
  background: var(--ink); color: var(--paper); font-size: .9rem;
  overflow-wrap: anywhere;
}
svg text { fill: var(--soft); font-size: 13px; }
svg .frame, svg .grid { stroke: var(--line); fill: none; }
svg .frame { stroke: var(--soft); }
svg polyline { fill: none; stroke: var(--soft); stroke-linejoin: round; }
svg polyline.front { stroke: var(--student); stroke-width: 1.5; }
svg polyline.same { stroke-dasharray: 5 5; }
svg polyline.descent { stroke: var(--ink); stroke-opacity: .75; }
svg polyline.first { stroke-width: 3; stroke-opacity: 1; }
.mark path { stroke: var(--paper); stroke-width: 1; }
.mark.label path { fill: var(--label); }
.mark.best path, .mark.student path { fill: var(--student); }
.mark.teacher path { fill: var(--teacher); }
.mark.width_scaled path { fill: var(--width_scaled); }
.mark.random_search path { fill: var(--random_search); }
.mark.other path { fill: var(--other); }
.mark.one path { transform: scale(.7); fill-opacity: .55; }
.mark.end path { transform: scale(.6); fill: var(--ink); }
.mark.q0 path { fill: var(--q0); } .mark.q1 path { fill: var(--q1); }
.mark.q2 path { fill: var(--q2); } .mark.q3 path { fill: var(--q3); }
.mark.q4 path { fill: var(--q4); }
.mark:is(.q0, .q1, .q2, .q3, .q4) path {
  stroke: var(--soft); stroke-width: .6;
}
figure .mark:hover path { stroke: var(--ink); stroke-width: 2.5; }
.legend {
  display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; margin: .6rem 0;
  padding: 0; list-style: none; font-size: .88rem; color: var(--soft);
}
.legend li { display: flex; align-items: center; gap: .35rem; }
.legend svg { width: 1.15rem; height: 1.15rem; }
.layers :is(th, td) { vertical-align: middle; padding-block: .3rem; }
.layers .layer { width: 25%; white-space: normal; vertical-align: bottom; }
.layers .change { width: 20%; }
.layers :is(th, td):first-child { text-align: right; padding-right: 0; }
.layers td.layer:nth-child(2) { text-align: left; padding-left: 0; }
.layers thead td { border: 0; }
.layers code { font-size: .78rem; }
.layers .layer > * { display: block; padding-inline: .5rem; }
.layers .layer > .bar {
  display: flex; align-items: center; height: 1.7rem; padding: 0;
}
.layers td:first-child .bar { justify-content: flex-end; }
.layers .bar i {
  width: calc(var(--side) * 100%); height: calc(var(--side) * 100%);
  background: var(--student);
}
.layers td:first-child .bar i { background: var(--teacher); }
.layers .bar.pool i { opacity: .35; }
.layers .removed {
  color: var(--soft); font-style: italic; vertical-align: middle;
}
.layers .kept { color: var(--soft); }
@container (max-width: 32rem) {
  svg text { font-size: 21px; }
  .mark path { scale: 1.15; }
}
.time td:last-child { width: 50%; }
.time .bar {
  display: block; height: 1rem; width: calc(var(--share) * 100%);
  min-width: 2px; background: var(--student);
}
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--student); }
details .scroll { max-height: 30rem; overflow: auto; }
@media (max-width: 40rem) {
  main { padding-top: 1.5rem; }
  .pair { grid-template-columns: 1fr; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .tiles li:last-child:nth-child(odd) { grid-column: 1 / 3; }
  th, td { padding-inline: .4rem; }
  .layers, .layers :is(caption, tbody, tfoot) { display: block; }
  .layers thead { position: absolute; clip-path: inset(50%); }
  .layers tr {
    display: grid; grid-template-columns: repeat(2, minmax(0, 1fr));
    padding: .5rem 0;
    border-bottom: 1px solid var(--line);
  }
  .layers :is(.layer, .change, .number) {
    border: 0; padding-block: .05rem; width: auto;
  }
  .layers .change { grid-column: 1 / 3; text-align: center; }
  .layers .number:nth-child(odd) { text-align: left; padding-left: .5rem; }
  .layers .number:nth-child(even) { padding-right: .5rem; }
  .layers .number { color: var(--soft); font-size: .85rem; }
  .layers .number::after { content: " " attr(data-unit); }
}
@media print {
  :root { --paper: #fff; --ink: #000; --panel: #f5f7f9; }
  body { font-size: 10.5pt; print-color-adjust: exact; }
  main { padding: 0; max-width: none; }
  h2 { break-after: avoid; margin-top: 1.5rem; }
  figure, tr, .tiles li { break-inside: avoid; }
  output, details:not([open]) { display: none; }
}
"""

_SCRIPT = """
addEventListener('pointerover', event => {
  const title = event.target.closest('.mark')?.querySelector('title');
  document.querySelector('output').textContent = title?.textContent ?? '';
});
"""


def page(title: str, parts: Sequence[str]) -> str:
    """The whole document.

    Args:
      title: plain text.
      parts: HTML, one below the other.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{chr(10).join(parts)}
</main>
<output></output>
<script>{_SCRIPT}</script>
</body>
</html>
"""


def section(title: str, *parts: str) -> str:
    """A heading, plain text, and what stands below it, HTML."""
    heading = f"<h2>{html.escape(title)}</h2>"
    return "\n".join(["<section>", heading, *parts, "</section>"])


def paragraph(text: str, style: str = "") -> str:
    """Plain text as a paragraph."""
    return f'<p class="{style}">{html.escape(text)}</p>'


def tiles(entries: Sequence[tuple[str, str, str]]) -> str:
    """Large figures, each with what it is and what it was; plain text."""
    items = (
        "<li><b>{}</b><strong>{}</strong><span>{}</span></li>".format(
            *map(html.escape, entry)
        )
        for entry in entries
    )
    return f'<ul class="tiles">{"".join(items)}</ul>'


def figure(chart: str, caption: str, legend: str = "") -> str:
    """A chart below its legend, with a caption of plain text."""
    return (
        f"<figure>{legend}{chart}<figcaption>{html.escape(caption)}"
        "</figcaption></figure>"
    )


def table(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    row_styles: Sequence[str] = (),
    text_columns: Sequence[int] = (),
) -> str:
    """A table of plain text whose first column heads the rows.

    Args:
      caption: what it holds.
      columns: their headings.
      rows: as many cells each.
      row_styles: CSS class of each row; none by default.
      text_columns: those, beside the first, that are not numbers.
    """

    def cells(tag: str, values: Sequence[str], scope: str) -> str:
        texts = []
        for index, value in enumerate(values):
            own = tag if index else "th"
            style = ' class="text"' if index in text_columns else ""
            head = f' scope="{scope}"' if own == "th" else ""
            texts.append(f"<{own}{head}{style}>{html.escape(value)}</{own}>")
        return "".join(texts)

    styles = row_styles or [""] * len(rows)
    body = "\n".join(
        f'<tr class="{style}">{cells("td", row, "row")}</tr>'
        for style, row in zip(styles, rows, strict=True)
    )
    return (
        f'<div class="scroll"><table><caption>{html.escape(caption)}</caption>'
        f"<thead><tr>{cells('th', columns, 'col')}</tr></thead>\n"
        f"<tbody>{body}</tbody></table></div>"
    )


def details(summary: str, content: str) -> str:
    """HTML that is folded away under a line of plain text."""
    return (
        f"<details><summary>{html.escape(summary)}</summary>{content}</details>"
    )
