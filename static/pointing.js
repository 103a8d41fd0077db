/* Charts and tokens point at each other: where a chart is pointed at, the tokens of that place are marked; a token whose card
   is open is marked in the charts. The charts are Gradio's, drawn by its Plotly after a run. Stands before card.js. */
const bound = new WeakSet();
let marked = [];

function mark(spans) {
  for (const span of marked) span.classList.remove("pg-pointed");
  marked = spans;
  for (const span of marked) span.classList.add("pg-pointed");
}

const tokensOf = (points) => points.flatMap((point) => state.lanes[point.data.meta]?.spans[point.x - 1] ?? []);

/* Each chart is listened to from the first time that it is pointed at; it may be a new one then. */
document.addEventListener("pointerover", (event) => {
  const chart = fixed.charts && event.target.closest?.(`#${fixed.charts} .js-plotly-plot`);
  if (!chart?.on || bound.has(chart)) return;
  bound.add(chart);
  chart.on("plotly_hover", (hovered) => mark(tokensOf(hovered.points)));
  chart.on("plotly_unhover", () => mark([]));
});

/* Marks a position in the charts, which count tokens from 1, or none. */
function showInCharts(position) {
  if (!fixed.charts || !state.done || !window.Plotly) return;
  for (const chart of document.querySelectorAll(`#${fixed.charts} .js-plotly-plot`)) {
    if (!chart._fullLayout || !chart.offsetParent) continue;
    if (position === null) window.Plotly.Fx.unhover(chart);
    else window.Plotly.Fx.hover(chart, { xval: position + 1 }, "xy", true);
  }
}
