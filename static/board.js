/* The board: lanes of streamed tokens, coloured by one overlay, with a card for the token pointed at or focused.
   Runs once per component with Gradio's (element, trigger, props, server, upload, watch) and the constant `fixed`. The message format is in
   playground/ui/wire.py. Model text enters the page by textContent only. */
const REDRAW_PAUSE = 60;
const root = element.querySelector(".pg-board");
const scales = fixed.scales;
const state = { run: null, seq: -1, lanes: [], overlay: scales[0].name, done: true, syncing: false };
const cards = new Map();

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/* ---- colour ---- */
const theme = () => (document.body.classList.contains("dark") ? "dark" : "light");
const scaleOf = (name) => scales.find((scale) => scale.name === name);
const hexParts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

function colour(scale, value) {
  const stops = scale.stops[theme()];
  const share = Math.min(Math.max((value - scale.low) / (scale.high - scale.low), 0), 1) * (stops.length - 1);
  const index = Math.min(Math.floor(share), stops.length - 2);
  const [from, to] = [hexParts(stops[index]), hexParts(stops[index + 1])];
  return `rgb(${from.map((part, i) => Math.round(part + (share - index) * (to[i] - part))).join(", ")})`;
}

function valueOf(token, overlay) {
  if (overlay === "temperature") return token[1];
  if (overlay === "entropy") return token[2];
  return token[3] === null ? Infinity : -token[3];
}

function paint(span, token) {
  const scale = scaleOf(state.overlay);
  if (!scale) {
    span.style.backgroundColor = "";
    span.classList.remove("pg-clipped");
    return;
  }
  const value = valueOf(token, scale.name);
  span.style.backgroundColor = colour(scale, value);
  span.classList.toggle("pg-clipped", value > scale.high + 1e-9);
}

const repaint = () => state.lanes.forEach((lane) => lane.spans.forEach((span, i) => paint(span, lane.tokens[i])));

/* ---- the bar: switch and legend ---- */
const bar = make("div", "pg-bar");
const group = make("div", "pg-switch");
group.setAttribute("role", "radiogroup");
group.setAttribute("aria-label", "Colour tokens by");
const legend = make("div", "pg-legend");
bar.append(group, legend);

function drawLegend() {
  legend.replaceChildren();
  const scale = scaleOf(state.overlay);
  if (!scale) return;
  const strip = make("div", "pg-strip");
  strip.style.backgroundImage = `linear-gradient(to right, ${scale.stops[theme()].join(", ")})`;
  const ticks = make("div", "pg-ticks");
  scale.ticks.forEach((tick, i) => {
    const label = make("span", "", `${i === scale.ticks.length - 1 ? "≥ " : ""}${tick}`);
    label.style.left = `${(100 * (tick - scale.low)) / (scale.high - scale.low)}%`;
    ticks.append(label);
  });
  const ruler = make("div", "pg-ruler");
  ruler.append(strip, ticks);
  legend.append(make("span", "pg-end", scale.ends[0]), ruler, make("span", "pg-end", scale.ends[1]));
  if (scale.unit) legend.append(make("span", "pg-unit", scale.unit));
  legend.setAttribute("aria-label", `${scale.title} from ${scale.low} (${scale.ends[0]}) to ${scale.high} (${scale.ends[1]}) ${scale.unit}`);
}

function choose(name, focus) {
  state.overlay = name;
  for (const button of group.children) {
    const on = button.dataset.overlay === name;
    button.setAttribute("aria-checked", String(on));
    button.tabIndex = on ? 0 : -1;
    if (on && focus) button.focus();
  }
  root.dataset.overlay = name;
  drawLegend();
  repaint();
}

for (const [name, title] of [...scales.map((scale) => [scale.name, scale.title]), ["none", "None"]]) {
  const button = make("button", "", title);
  button.type = "button";
  button.dataset.overlay = name;
  button.setAttribute("role", "radio");
  button.addEventListener("click", () => choose(name, false));
  group.append(button);
}
group.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const names = [...group.children].map((button) => button.dataset.overlay);
  choose(names[(names.indexOf(state.overlay) + step + names.length) % names.length], true);
});

/* ---- lanes ---- */
const problem = make("p", "pg-problem");
problem.setAttribute("role", "alert");
problem.hidden = true;
const grid = make("div", "pg-lanes");
const live = make("div", "pg-quiet");
live.setAttribute("aria-live", "polite");
const empty = make("div", "pg-empty");
empty.append(make("p", "", fixed.empty));
empty.hidden = !fixed.empty;
root.append(bar, problem, empty, grid, live);

function makeLane(head, index) {
  const section = make("section", "pg-lane");
  section.dataset.lane = index;
  const label = head.label || `Lane ${index + 1}`;
  section.setAttribute("aria-label", `${label}: ${head.title}`);
  const header = make("header");
  const mark = make("span", `pg-mark pg-mark-${index}`);
  mark.setAttribute("aria-hidden", "true");
  const name = make("h3", "", label);
  const title = make("span", "pg-title", head.title);
  header.append(mark, name, title);
  if (head.short) header.append(make("code", "pg-spec", head.short));
  const text = make("div", "pg-text");
  text.dir = "auto";
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", `${label}: tokens; the arrow keys move between them`);
  if (head.prefill) text.append(make("span", "pg-prefill", head.prefill));
  const caret = make("span", "pg-caret");
  caret.setAttribute("aria-hidden", "true");
  text.append(caret);
  const figures = make("dl", "pg-figures");
  const table = make("details", "pg-table");
  table.hidden = true;
  table.append(make("summary", "", "Tokens as a table"));
  table.addEventListener("toggle", () => table.open && fillTable(lane));
  section.append(header, text, figures, table);
  grid.append(section);
  const lane = { index, label, section, text, caret, figures, table, tokens: [], spans: [] };
  return lane;
}

function fillText(span, text) {
  if (text === "") span.classList.add("pg-void");
  text.split("\n").forEach((part, i) => {
    if (i) span.append(make("i", "pg-newline"), "\n");
    span.append(part);
  });
}

function addTokens(lane, from, tokens) {
  const fragment = document.createDocumentFragment();
  for (let i = Math.max(lane.tokens.length - from, 0); i < tokens.length; i += 1) {
    const token = tokens[i];
    const span = make("span", "pg-token");
    span.dataset.position = lane.tokens.length;
    span.dataset.temperature = token[1];
    span.dataset.entropy = token[2];
    span.dataset.logprob = token[3] === null ? "" : token[3];
    span.tabIndex = lane.tokens.length === 0 ? 0 : -1;
    fillText(span, token[0]);
    paint(span, token);
    lane.tokens.push(token);
    lane.spans.push(span);
    fragment.append(span);
  }
  lane.text.insertBefore(fragment, lane.caret);
}

function fillTable(lane) {
  lane.table.querySelector("table")?.remove();
  const table = make("table");
  const head = table.createTHead().insertRow();
  for (const name of ["", "token", "T", "entropy", "surprisal"]) head.append(make("th", "", name));
  const body = table.createTBody();
  lane.tokens.forEach((token, i) => {
    const row = body.insertRow();
    row.append(make("td", "", String(i)), make("td", "pg-piece", visible(token[0])));
    for (const name of ["temperature", "entropy", "surprisal"]) row.append(make("td", "", short(valueOf(token, name))));
  });
  lane.table.append(table);
}

const short = (value) => (Number.isFinite(value) ? value.toFixed(value === 0 || value >= 0.01 ? 2 : 4) : "∞");
const percent = (p) => (p >= 0.9995 ? "100 %" : p >= 0.1 ? `${(100 * p).toFixed(1)} %` : p >= 0.0001 ? `${(100 * p).toFixed(2)} %` : p > 0 ? "< 0.01 %" : "0");
const visible = (text) => (text === "" ? "part of a character" : text.replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/ /g, "␣"));

/* ---- messages ---- */
function begin(message) {
  Object.assign(state, { run: message.run, seq: -1, done: false });
  cards.clear();
  hideCard(true);
  grid.replaceChildren();
  grid.dataset.count = message.heads.length;
  state.lanes = message.heads.map(makeLane);
  empty.hidden = true;
  root.classList.add("pg-running");
}

function show(sentence) {
  problem.textContent = sentence || "";
  problem.hidden = !sentence;
}

function apply(message, whole) {
  if (!message) return;
  if (message.error) {
    show(message.error);
    return;
  }
  if (!message.run) return;
  if (message.run !== state.run) {
    if (!message.heads) return void resync(message.run);
    begin(message);
  }
  if (!whole && message.seq <= state.seq) return;
  show("");
  if (message.lanes.some((lane, i) => lane.from > state.lanes[i].tokens.length)) return void resync(message.run);
  if (!whole) state.seq = message.seq;
  message.lanes.forEach((lane, i) => addTokens(state.lanes[i], lane.from, lane.tokens));
  if (message.done && !state.done) finish(message);
}

function finish(message) {
  state.done = true;
  root.classList.remove("pg-running");
  state.lanes.forEach((lane, i) => {
    lane.table.hidden = false;
    lane.figures.replaceChildren();
    for (const [name, value] of message.figures[i]) {
      const pair = make("div");
      pair.append(make("dt", "", name), make("dd", "", value));
      lane.figures.append(pair);
    }
  });
  live.textContent = state.lanes.map((lane) => `${lane.label} finished, ${lane.tokens.length} tokens.`).join(" ");
}

async function resync(run) {
  if (state.syncing) return;
  state.syncing = true;
  try {
    const message = await server.resync({ run });
    if (!message.error) apply(message, true);
  } finally {
    state.syncing = false;
  }
}

/* ---- the card ---- */
const card = make("div", "pg-card");
card.id = `pg-card-${Math.random().toString(36).slice(2)}`;
card.setAttribute("role", "tooltip");
card.hidden = true;
(element.closest("main") || document.body).append(card);
let current = null;
let opening = 0;
let closing = 0;

function fact(name, value, note) {
  const row = make("div");
  row.append(make("dt", "", name), make("dd", "", value));
  if (note) row.lastChild.append(make("small", "", note));
  return row;
}

function barRow(className, share) {
  const cell = make("span", `pg-meter ${className}`);
  const fill = make("span");
  fill.style.width = `${Math.max(100 * share, share > 0 ? 1 : 0)}%`;
  cell.append(fill);
  return cell;
}

function fillCard(lane, position, details) {
  const token = lane.tokens[position];
  card.replaceChildren();
  const header = make("header");
  header.append(make("strong", "", visible(token[0])), make("span", "", `${lane.label} · token ${position + 1}`));
  const facts = make("dl", "pg-facts");
  facts.append(
    fact("temperature", short(token[1])),
    fact("entropy", short(token[2]), " nats"),
    fact("p at T = 1", token[3] === null ? "0" : percent(Math.exp(token[3]))),
    fact("p as drawn", details ? percent(details.prob_drawn) : "…"),
  );
  card.append(header, facts);
  if (!details) return;
  if (details.error) {
    card.append(make("p", "", details.error));
    return;
  }
  if (details.grid) card.append(make("h4", "", "The policy’s choice of temperature"), gridChart(details.grid));
  card.append(make("h4", "", "Next-token candidates"), candidates(details.alternatives));
}

function gridChart(rows) {
  const chart = make("div", "pg-grid");
  const most = Math.max(...rows.map(([, prob]) => prob));
  for (const [temperature, prob, chosen] of rows) {
    const column = make("div", chosen ? "pg-chosen" : "");
    column.title = percent(prob);
    const fill = make("span", "pg-column");
    fill.style.height = `${Math.max(2, (34 * prob) / most)}px`;
    fill.style.backgroundColor = colour(scaleOf("temperature"), temperature);
    column.append(make("small", "", prob >= 0.005 ? `${Math.round(100 * prob)}%` : ""), fill, make("b", "", String(Number(temperature.toFixed(3)))));
    chart.append(column);
  }
  return chart;
}

function candidates(rows) {
  const list = make("div", "pg-candidates");
  list.append(make("small", "", ""), make("small", "", "at T = 1"), make("small", "", "as drawn"));
  for (const [text, before, after, drawn] of rows) {
    const name = make("span", drawn ? "pg-piece pg-drawn" : "pg-piece", visible(text));
    const left = make("span", "pg-prob", percent(before));
    const right = make("span", "pg-prob", percent(after));
    left.prepend(barRow("pg-before", before));
    right.prepend(barRow("pg-after", after));
    list.append(name, left, right);
  }
  return list;
}

function place(span) {
  if (window.innerWidth <= 640) {
    card.style.cssText = "";
    return;
  }
  const rects = span.getClientRects();
  const spot = rects[0] || span.getBoundingClientRect();
  const [width, height] = [card.offsetWidth, card.offsetHeight];
  const left = Math.min(Math.max(spot.left - 12, 8), window.innerWidth - width - 8);
  const below = spot.bottom + 8;
  const top = below + height <= window.innerHeight - 8 ? below : Math.max(8, spot.top - height - 8);
  card.style.cssText = `left:${left}px;top:${top}px`;
}

function hideCard(now) {
  clearTimeout(closing);
  const close = () => {
    clearTimeout(opening);
    card.hidden = true;
    current?.span.removeAttribute("aria-describedby");
    current?.span.classList.remove("pg-current");
    current = null;
  };
  if (now) close();
  else closing = setTimeout(close, 120);
}

function showCard(span) {
  clearTimeout(closing);
  if (current?.span === span) return;
  clearTimeout(opening);
  current?.span.classList.remove("pg-current");
  const lane = state.lanes[Number(span.closest(".pg-lane").dataset.lane)];
  const position = Number(span.dataset.position);
  current = { span, lane, position };
  span.classList.add("pg-current");
  span.setAttribute("aria-describedby", card.id);
  opening = setTimeout(async () => {
    const key = `${state.run}/${lane.index}/${position}`;
    fillCard(lane, position, cards.get(key));
    card.hidden = false;
    place(span);
    if (cards.has(key)) return;
    const details = await server.inspect({ run: state.run, lane: lane.index, position });
    cards.set(key, details);
    if (current?.span !== span) return;
    fillCard(lane, position, details);
    place(span);
  }, REDRAW_PAUSE);
}

const tokenAt = (target) => (target instanceof Element ? target.closest(".pg-token") : null);
grid.addEventListener("pointerover", (event) => {
  const span = tokenAt(event.target);
  if (span && event.pointerType === "mouse") showCard(span);
});
grid.addEventListener("pointerout", (event) => {
  if (event.pointerType === "mouse" && current && !tokenAt(event.relatedTarget)) hideCard(false);
});
grid.addEventListener("click", (event) => {
  const span = tokenAt(event.target);
  if (span) span.focus({ preventScroll: true });
});
grid.addEventListener("focusin", (event) => {
  const span = tokenAt(event.target);
  if (!span) return;
  span.closest(".pg-text").querySelectorAll('[tabindex="0"]').forEach((other) => (other.tabIndex = -1));
  span.tabIndex = 0;
  showCard(span);
});
grid.addEventListener("focusout", () => hideCard(false));
grid.addEventListener("keydown", (event) => {
  const span = tokenAt(event.target);
  if (!span) return;
  const spans = state.lanes[Number(span.closest(".pg-lane").dataset.lane)].spans;
  const here = spans.indexOf(span);
  const next = { ArrowRight: here + 1, ArrowDown: here + 10, ArrowLeft: here - 1, ArrowUp: here - 10, Home: 0, End: spans.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  spans[Math.min(Math.max(next, 0), spans.length - 1)].focus();
});
document.addEventListener("keydown", (event) => event.key === "Escape" && hideCard(true));
window.addEventListener("scroll", () => current && !card.hidden && place(current.span), { passive: true, capture: true });
document.addEventListener("pointerdown", (event) => {
  if (current && !tokenAt(event.target) && !card.contains(event.target)) hideCard(true);
});

/* ---- start ---- */
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && state.run && !state.done) resync(state.run);
});
new MutationObserver(() => {
  drawLegend();
  repaint();
}).observe(document.body, { attributes: true, attributeFilter: ["class"] });
watch("value", () => apply(props.value, false));
choose(state.overlay, false);
apply(props.value, false);
