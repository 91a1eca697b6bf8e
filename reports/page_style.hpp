// The page's style sheet and the few lines that start its charts: no other script is ours.
#pragma once

#include <string_view>

namespace tw {

// Colours of the ten categories are told apart in light and dark: lighter and more saturated in dark.
inline constexpr std::string_view kStyle = R"css(
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2430; --soft: #5a6675; --line: #d9dee5; --card: #f5f7fa;
  --accent: #1f5fbf; --c1: #2f6fd0; --c2: #d9731a; --c3: #2b9457; --c4: #b83a5e; --c5: #7d55c7; --c6: #1c93a3;
  --c7: #9a7a12; --c8: #6b7785; --c9: #c0529f; --c10: #8a5a3c; --faint: #c4d4ec; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181f; --ink: #e6eaf0; --soft: #9ca8b8; --line: #333c49;
  --card: #1c222c; --accent: #8ab4f8; --c1: #6ea3f0; --c2: #f09a4a; --c3: #5cc487; --c4: #ee7896; --c5: #b294f0;
  --c6: #55c3d3; --c7: #d6b34a; --c8: #9aa6b5; --c9: #e88fd0; --c10: #c7946f; --faint: #33496b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main, footer { max-width: 66rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.05rem; font-weight: 600; color: var(--soft); margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; }
.answer { font-size: 1.35rem; line-height: 1.35; font-weight: 600; margin: 0 0 .75rem; overflow-wrap: anywhere; }
.layout { font-family: ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: .5rem 1rem; margin: 1rem 0; }
dt { font-size: .75rem; color: var(--soft); } dd { margin: 0; font-size: .9rem; overflow-wrap: anywhere; }
nav { margin-top: .5rem; } nav a { display: inline-block; margin: 0 1rem .25rem 0; }
a { color: var(--accent); } p { max-width: 48rem; margin: .4rem 0; overflow-wrap: anywhere; }
figure { margin: 1rem 0 1.25rem; } figcaption { font-size: .9rem; color: var(--soft); margin-bottom: .4rem; }
.chart { width: 100%; min-height: 40px; } .chart.vega-embed { display: block; }
.chart.vega-embed svg { max-width: 100%; display: block; }
.vega-bindings { font-size: .85rem; margin: .25rem 0; } .vega-bindings select { font: inherit; margin-left: .3rem; }
summary { cursor: pointer; font-size: .85rem; color: var(--accent); }
.scroll { overflow-x: auto; max-height: 32rem; border: 1px solid var(--line); border-radius: 4px; margin: .4rem 0; }
table { border-collapse: collapse; font-size: .82rem; width: 100%; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { background: var(--card); font-weight: 600; position: sticky; top: 0; } .n { text-align: right; }
td.n { white-space: nowrap; } td:not(.n) { min-width: 6rem; }
td.l { min-width: 14rem; overflow-wrap: anywhere; } :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: .5rem; background: var(--paper); }
footer { margin: 3rem auto 1.5rem; font-size: .8rem; color: var(--soft); }
@media print { :root { --paper: #fff; --ink: #000; --soft: #444; --line: #ccc; --card: #f2f2f2; }
  nav, .skip, summary { display: none; } figure, section table { break-inside: avoid; }
  .scroll { max-height: none; overflow: visible; border: 0; } table { font-size: .7rem; } }
)css";

// data-charts of the document says how many were drawn, or what failed, for tests.
inline constexpr std::string_view kStart = R"js(
const specs = [...document.querySelectorAll('script.spec')];
Promise.all(specs.map(s => vegaEmbed(s.previousElementSibling, JSON.parse(s.textContent),
    {renderer: 'svg', actions: false})))
  .then(all => { document.documentElement.dataset.charts = all.length; })
  .catch(e => { document.documentElement.dataset.charts = 'failed: ' + e.message; console.error(e); });
)js";

}  // namespace tw
