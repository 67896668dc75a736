/**
 * The reports' one style sheet. Colours are variables, charts use them too, so a theme is one block.
 * On paper the light theme counts and what is folded opens.
 */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #fdfdfc; --raised: #f5f6f6; --text: #1b1f23; --muted: #5c656e; --rule: #d5d9dd; --grid: #eaedef;
  --train: #2a6db8; --valid: #bf5312; --good: #2a6db8; --bad: #bf5312; --marked: #eef4fb; --notice: #fdf3e4; --notice-rule: #d99a3c;
  --series-1: #2a6db8; --series-2: #bf5312; --series-3: #21805c; --series-4: #7d4fb0; --series-5: #94700f; --series-6: #b53a63;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --raised: #1c2024; --text: #e4e7ea; --muted: #9ca6b0; --rule: #3a4148; --grid: #262b30;
    --train: #79b0ec; --valid: #f0995c; --good: #4f94dd; --bad: #e0813f; --marked: #1b2938; --notice: #2c2416; --notice-rule: #a87a30;
    --series-1: #79b0ec; --series-2: #f0995c; --series-3: #63c79d; --series-4: #b997e6; --series-5: #d3b04a; --series-6: #ec85a8;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; font-variant-numeric: tabular-nums; }
main { max-width: 62rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
h1, h2, h3 { line-height: 1.25; text-wrap: balance; }
h1 { margin: 0; font-size: 1.9rem; font-weight: 650; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { margin: 0 0 0.5rem; font-size: 1.3rem; font-weight: 650; }
h3 { margin: 0; font-size: 1rem; font-weight: 600; }
p { margin: 0 0 1rem; max-width: 44rem; }
.lead { color: var(--muted); margin-bottom: 1.5rem; }
.eyebrow { margin: 0 0 0.35rem; color: var(--muted); font-size: 0.875rem; overflow-wrap: anywhere; }
section { margin-top: 4rem; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 0.86em; }
pre { margin: 0 0 1rem; padding: 0.9rem 1.1rem; background: var(--raised); border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere; }

header > .lead { margin: 1.25rem 0 1.75rem; }
.headline { display: flex; flex-wrap: wrap; align-items: center; gap: 0.75rem 1.75rem; margin: 2rem 0; }
.headline .figure { font-size: 3.75rem; font-weight: 650; line-height: 1; letter-spacing: -0.03em; white-space: nowrap; }
.headline p { margin: 0; flex: 1 1 20rem; }
.headline small { color: var(--muted); font-size: 0.875rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1.1rem 1.5rem; margin: 0; padding: 1.35rem 0 0; border-top: 1px solid var(--rule); }
.facts dt { color: var(--muted); font-size: 0.8125rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; font-size: 0.9375rem; }
.notice { max-width: none; margin: 0 0 1.5rem; padding: 0.75rem 1rem; background: var(--notice); border-left: 3px solid var(--notice-rule); border-radius: 0 4px 4px 0; overflow-wrap: anywhere; }

figure { margin: 0; }
h2 + .charts { margin-top: 1.25rem; }
.charts { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 2.5rem 2rem; }
.chart { display: flex; flex-direction: column; justify-content: space-between; min-width: 0; break-inside: avoid; }
section > .chart { margin: 0 0 2rem; }
.chart.two-sizes { grid-column: 1 / -1; }
.chart figcaption { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0.25rem 1.5rem; margin-bottom: 0.5rem; }
.chart svg { display: block; width: 100%; height: auto; font-family: inherit; }
.chart .narrow { display: none; }
.legend { display: flex; flex-wrap: wrap; gap: 0.15rem 1.25rem; margin: 0; padding: 0; list-style: none; color: var(--muted); font-size: 0.8125rem; }
.legend b { color: var(--text); font-weight: 600; }
.swatch { display: inline-block; width: 1.35em; margin-right: 0.15em; vertical-align: 0.25em; border-top: 3px solid var(--train); }
.swatch.valid { border-color: var(--valid); }
.swatch.faint { border-top-width: 1.5px; opacity: 0.6; }
.swatch.series-1 { border-color: var(--series-1); }
.swatch.series-2 { border-color: var(--series-2); border-top-style: dashed; }
.swatch.series-3 { border-color: var(--series-3); border-top-style: dashed; }
.swatch.series-4 { border-color: var(--series-4); border-top-style: dashed; }
.swatch.series-5 { border-color: var(--series-5); border-top-style: dashed; }
.swatch.series-6 { border-color: var(--series-6); border-top-style: dashed; }
.swatch.mean { width: 3px; height: 1.1em; margin: 0 0.4em; vertical-align: -0.2em; border: 0; background: var(--train); }
.swatch.seed { width: 7px; height: 7px; margin: 0 0.3em; vertical-align: 0.05em; border: 0; border-radius: 50%; background: var(--valid); }

.scroll { overflow-x: auto; margin: 0 0 1rem; }
.scroll:focus-visible, summary:focus-visible { outline: 2px solid var(--train); outline-offset: 3px; }
table { border-collapse: collapse; font-size: 0.9375rem; line-height: 1.4; }
table th, table td { padding: 0.5rem 1.25rem 0.5rem 0; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--grid); }
table th:first-child { padding-left: 0.6rem; }
table th:last-child, table td:last-child { padding-right: 0.6rem; }
thead th { color: var(--muted); font-size: 0.8125rem; font-weight: 500; border-bottom-color: var(--rule); vertical-align: bottom; }
tbody th, tfoot th { font-weight: 500; }
tbody th.text:first-child { overflow-wrap: break-word; min-width: 8rem; max-width: 24rem; }
tfoot th, tfoot td { border-bottom: 0; border-top: 1px solid var(--rule); color: var(--muted); }
table .number { text-align: right; white-space: nowrap; }
table .prose { max-width: 30rem; overflow-wrap: anywhere; }
table .values { min-width: 16.5rem; }
table td.prose { color: var(--muted); }
table td > small { color: var(--muted); font-size: 0.8125rem; }
tr.marked > * { background: var(--marked); }
tr.marked th { font-weight: 650; box-shadow: inset 3px 0 0 var(--train); }
.tag { display: inline-block; margin-left: 0.5rem; padding: 0 0.5rem; border: 1px solid var(--rule); border-radius: 1rem; color: var(--muted); font-size: 0.75rem; font-weight: 500; white-space: nowrap; }
.better { color: var(--good); } .worse { color: var(--bad); } .undecided { color: var(--muted); }

.confusion th, .confusion td { border: 0; padding: 0.3rem 0.5rem; }
.confusion thead th { vertical-align: bottom; text-align: center; max-width: 11rem; overflow-wrap: break-word; color: var(--text); }
.confusion thead th.axis, .confusion thead .corner { color: var(--muted); font-weight: 500; text-align: left; }
.confusion thead th.axis { padding-left: 0.6rem; }
.confusion.tall thead .class span { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 11rem; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.confusion tbody th { position: sticky; left: 0; max-width: 14rem; min-width: 0; background: var(--page); text-align: right; vertical-align: middle; font-weight: 500; }
.confusion td { min-width: 2.6rem; height: 2.4rem; text-align: center; vertical-align: middle; border: 2px solid var(--page); border-radius: 4px; background: color-mix(in srgb, var(--shade, var(--grid)) var(--part, 0%), var(--raised)); }
.confusion:not(.tall) td { min-width: 6.5rem; height: 4rem; font-size: 1.15rem; }
.confusion td small { display: block; color: var(--muted); font-size: 0.75rem; }
.confusion:not(.tall) td[style] small { color: inherit; opacity: 0.85; }
.confusion td.right { --shade: var(--good); } .confusion td.wrong { --shade: var(--bad); }
.confusion td.none { color: var(--muted); }
.confusion td.total { background: none; color: var(--muted); font-size: 0.9375rem; min-width: 4rem; text-align: right; }
.confusion thead th.total { color: var(--muted); text-align: right; }

.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: 1.75rem 1.25rem; margin: 0; padding: 0; list-style: none; }
.mistakes li { break-inside: avoid; min-width: 0; }
.mistakes img, .mistakes .gone { display: block; width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: 5px; background: var(--raised); }
.mistakes .gone { display: grid; place-items: center; padding: 1rem; color: var(--muted); font-size: 0.8125rem; text-align: center; }
.mistakes figcaption { margin-top: 0.5rem; font-size: 0.875rem; line-height: 1.4; overflow-wrap: anywhere; }
.mistakes small { display: block; color: var(--muted); font-size: 0.75rem; }

* + details { margin-top: 1.5rem; }
details + details { margin-top: 0; }
details { border-top: 1px solid var(--grid); padding: 0.65rem 0; }
details:last-child { border-bottom: 1px solid var(--grid); }
summary { cursor: pointer; font-weight: 500; padding: 0.2rem 0; }
details[open] > summary { margin-bottom: 0.75rem; }
footer { margin-top: 4rem; color: var(--muted); font-size: 0.8125rem; }

@media (max-width: 42rem) {
  main { padding: 2rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  section { margin-top: 3rem; }
  .headline .figure { font-size: 3rem; }
  .charts { grid-template-columns: minmax(0, 1fr); }
  .chart.two-sizes .wide { display: none; }
  .chart.two-sizes .narrow { display: block; }
  .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .mistakes { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .confusion:not(.tall) td { min-width: 4.5rem; }
  .confusion.tall tbody th { min-width: 8rem; }
  tbody th.text:first-child { min-width: 6.5rem; }
  table th, table td { padding-right: 0.8rem; }
  table .prose { min-width: 15rem; }
}
@media print {
  body { font-size: 10pt; background: none; }
  main { max-width: none; padding: 0; }
  section { margin-top: 2rem; }
  tr, .notice { break-inside: avoid; }
  h2, summary { break-after: avoid; }
  .scroll { overflow: visible; }
  .confusion td { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
`;
