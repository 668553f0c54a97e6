//! The page's style.

/// Light, dark and print.
pub(super) const STYLE: &str = r#"
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #15191f; --soft: #5b6573; --rule: #e3e7ec; --tint: #f6f8fa;
  --c1: #1f5fbf; --c2: #c2571a; --c3: #7a3fa0;
  --good: #1c7a45; --good-bg: #eaf6ef; --warn: #9a6200; --warn-bg: #fdf5e3;
  --bad: #b3261e; --bad-bg: #fdeeed;
  --receive: #b8c0ca; --decode: #3b76c9; --ring: #8d97a5; --book: #1f9a8d; --append: #7c62c4;
  --analytics: #59a14f; --risk: #d9a520; --durable: #c2571a; --encode: #d3729b; --send: #9c3c3c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12161c; --ink: #e6eaf0; --soft: #98a3b1; --rule: #2a313b; --tint: #1a2029;
    --c1: #6ea8fe; --c2: #f0965c; --c3: #c08fe6;
    --good: #62c98d; --good-bg: #14281d; --warn: #e4b04d; --warn-bg: #2b2413;
    --bad: #f28b82; --bad-bg: #2f1a19;
    --receive: #566170; --decode: #5b93e6; --ring: #78838f; --book: #3fb8aa; --append: #9a83de;
    --analytics: #79bd6f; --risk: #e2b640; --durable: #e07f45; --encode: #e08fb3; --send: #c76a6a;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif;
  -webkit-font-smoothing: antialiased; }
main { max-width: 1120px; margin: 0 auto; padding: 44px 28px 72px; }
header { margin-bottom: 24px; }
.over { margin: 0; color: var(--soft); font-size: 13px; }
h1 { margin: 2px 0 0; font-size: 34px; line-height: 1.15; letter-spacing: -0.015em; font-weight: 650; }
.sub { margin: 6px 0 0; color: var(--soft); font-size: 16px; }
h2 { margin: 0 0 12px; font-size: 18px; font-weight: 620; letter-spacing: -0.005em; }
section { margin-top: 40px; }
.verdict { margin-top: 0; display: flex; gap: 24px; align-items: baseline; padding: 18px 22px;
  border-radius: 8px; border-left: 6px solid; }
.verdict strong { font-size: 27px; letter-spacing: 0.03em; line-height: 1.15; }
.verdict p, .verdict ul { margin: 0; }
.verdict ul { padding-left: 18px; margin-top: 6px; font-size: 14px; }
.verdict.valid { background: var(--good-bg); border-color: var(--good); }
.verdict.saturated { background: var(--warn-bg); border-color: var(--warn); }
.verdict.invalid { background: var(--bad-bg); border-color: var(--bad); }
.valid strong, td.valid { color: var(--good); }
.saturated strong, td.saturated { color: var(--warn); }
.invalid strong, td.invalid { color: var(--bad); }
td.valid, td.saturated, td.invalid { font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 1px;
  background: var(--rule); border: 1px solid var(--rule); border-radius: 8px; overflow: hidden;
  margin-top: 20px; }
.tile { background: var(--paper); padding: 16px 18px 14px; display: flex; flex-direction: column; }
.tile .value { font-size: 25px; font-weight: 620; letter-spacing: -0.01em;
  font-variant-numeric: tabular-nums; }
.tile .name { color: var(--soft); }
.tile .note { color: var(--soft); font-size: 12px; min-height: 18px; margin: 0; }
figure { margin: 0; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { color: var(--soft); font-size: 13px; }
figcaption p { margin: 4px 0 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 22px; color: var(--ink); }
.legend span { white-space: nowrap; }
.key { display: inline-block; width: 20px; height: 3px; border-radius: 2px; margin-right: 8px;
  vertical-align: 4px; }
.key.c1 { background: var(--c1); } .key.c2 { background: var(--c2); }
.key.c3 { background: var(--c3); } .key.single { background: var(--c1); opacity: 0.35; }
svg text { font: 12px system-ui, -apple-system, "Segoe UI", Arial, sans-serif; fill: var(--soft);
  font-variant-numeric: tabular-nums; }
.grid { stroke: var(--rule); } .axis { stroke: var(--soft); }
.line { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round; }
.line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); } .line.c3 { stroke: var(--c3); }
.line.thin { stroke-width: 1.2; }
.line.single { stroke: var(--c1); stroke-width: 1.1; opacity: 0.4; }
.band.c1 { fill: var(--c1); opacity: 0.08; }
.dot { stroke-width: 2; }
.dot.c1 { fill: var(--c1); stroke: var(--c1); } .dot.c2 { fill: var(--c2); stroke: var(--c2); }
.dot.c3 { fill: var(--c3); stroke: var(--c3); }
.dot.saturated, .dot.invalid { fill: var(--paper); }
line.mark { stroke: var(--soft); stroke-dasharray: 3 4; }
line.mark.knee { stroke: var(--ink); } text.mark.knee { fill: var(--ink); font-weight: 600; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px;
  font-variant-numeric: tabular-nums; }
thead th { font-weight: 500; color: var(--soft); border-bottom: 1px solid var(--soft); }
th, td { padding: 7px 8px; text-align: right; white-space: nowrap; vertical-align: top;
  border-bottom: 1px solid var(--rule); font-weight: 400; }
th:first-child { text-align: left; padding-left: 0; }
td:last-child, thead th:last-child { padding-right: 0; }
tbody th b { font-weight: 600; } th span, td span { display: block; color: var(--soft); font-size: 11px; }
tr.whole { background: var(--tint); } tr.whole th:first-child { padding-left: 8px; }
tr:not(.whole) th:first-child { padding-left: 8px; }
td.na { color: var(--soft); font-style: italic; }
td.text { text-align: left; white-space: normal; }
.note { color: var(--soft); font-size: 13px; margin: 12px 0 0; }
.stack { margin-bottom: 22px; break-inside: avoid; }
.stack p { margin: 0 0 5px; display: flex; justify-content: space-between; }
.stack p > span { font-variant-numeric: tabular-nums; }
.stack .bar { display: block; width: 100%; height: 26px; border-radius: 4px; overflow: hidden; }
.stack .parts { display: flex; flex-wrap: wrap; justify-content: flex-start; gap: 3px 18px;
  margin: 7px 0 0; font-size: 12.5px; color: var(--soft); }
.stack .parts b { color: var(--ink); font-weight: 600; }
.parts i { display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 6px; }
.fill-receive { fill: var(--receive); background: var(--receive); }
.fill-decode { fill: var(--decode); background: var(--decode); }
.fill-ring { fill: var(--ring); background: var(--ring); }
.fill-book { fill: var(--book); background: var(--book); }
.fill-append { fill: var(--append); background: var(--append); }
.fill-analytics { fill: var(--analytics); background: var(--analytics); }
.fill-risk { fill: var(--risk); background: var(--risk); }
.fill-durable { fill: var(--durable); background: var(--durable); }
.fill-encode { fill: var(--encode); background: var(--encode); }
.fill-send { fill: var(--send); background: var(--send); }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 40px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 18px; margin: 0; font-size: 13.5px; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--tint); border: 1px solid var(--rule); border-radius: 6px; padding: 12px 16px;
  overflow-x: auto; margin: 0; font: 13px/1.55 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
  white-space: pre-wrap; }
.remarks { color: var(--soft); font-size: 13px; padding-left: 18px; }
@media (max-width: 720px) { .two { grid-template-columns: 1fr; } .verdict { flex-direction: column; gap: 6px; } }
@media print {
  :root { --paper: #fff; --ink: #000; --soft: #444; --rule: #ccc; --tint: #f4f4f4; }
  body { font-size: 11pt; } main { max-width: none; padding: 0; }
  section { break-inside: avoid; margin-top: 24px; } .scroll { overflow: visible; }
  table { font-size: 8.5pt; } th, td { padding: 4px 6px; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"#;
