/* What colours the tokens: the scales, the switch between them and the legend. Stands before board.js in one scope;
   calls its `repaint`. A scale is a record of playground/ui/scales.py; the channels' scales come with each run. */
const SHADES = 256;
const scales = fixed.scales;
const state = { run: null, seq: -1, past: new Set(), lanes: [], scales: [], overlay: scales[0].name, chosen: null, done: true, closing: null };

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/* ---- values ---- */
const scaleOf = (name) => [...scales, ...state.scales].find((scale) => scale.name === name);

/* A token's number under an overlay: null where its lane or the token has none. */
function valueOf(lane, token, overlay) {
  if (overlay === "temperature") return token[1];
  if (overlay === "entropy") return token[2];
  if (overlay === "surprisal") return token[3] === null ? Infinity : -token[3];
  const place = lane.channels.indexOf(overlay);
  return place < 0 ? null : (token[4 + place] ?? null);
}

/* Numbers as playground/ui/amounts.py writes them. */
const grouped = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 0 }).replace("-", "−");
const digits = (value) => (Math.abs(value) >= 100 ? grouped(value) : value.toFixed(value === 0 || Math.abs(value) >= 0.01 ? 2 : 4).replace("-", "−"));
const short = (value) => (Number.isFinite(value) ? digits(value) : "∞");
const counted = (scale, value) => (scale.counts && Number.isInteger(value) ? grouped(value) : short(value));
const kindOf = (scale, value) => Math.min(Math.max(Math.round(value - scale.low), 0), scale.words.length - 1);
const inWords = (scale, value) => (value === null ? "–" : scale.words.length ? scale.words[kindOf(scale, value)] : counted(scale, value));

/* The numbers that a lane's tokens have under an overlay, and whether they differ. */
const valuesOf = (lane, overlay) => lane.tokens.map((token) => valueOf(lane, token, overlay)).filter((value) => value !== null);
const varies = (lane, overlay) => new Set(valuesOf(lane, overlay)).size > 1;

/* What a finished lane shows first: where its channel never varied, one that did (as in playground/ui/charts.py). */
function firstSight(lane) {
  if (scales.some((scale) => scale.name === lane.shows) || varies(lane, lane.shows)) return lane.shows;
  return lane.channels.find((name) => varies(lane, name)) || "entropy";
}

/* ---- colour ---- */
const themeNow = () => (document.body.classList.contains("dark") ? "dark" : "light");
let theme = themeNow();
const hexParts = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/* How values are spaced along a scale. */
const spacings = { even: (value) => value, log: (value) => Math.log(Math.max(value, Number.MIN_VALUE)), nines: (value) => -Math.log(Math.max(1.001 - value, 0.001)) };

/* Where a value lies along the scale, from 0 to 1; the centre lies in the middle. */
function shareOf(scale, value) {
  if (scale.words.length) return kindOf(scale, value) / (scale.words.length - 1);
  const along = spacings[scale.spacing || "even"];
  const [low, high, at] = [scale.low, scale.high, value].map(along);
  const middle = scale.centre === null ? (low + high) / 2 : along(scale.centre);
  const share = at < middle ? (0.5 * (at - low)) / (middle - low) : 0.5 + (0.5 * (at - middle)) / (high - middle);
  return Math.min(Math.max(share, 0), 1);
}

/* The colours of a scale's stops, mixed once: a token's is then looked up. */
const shadesOf = new WeakMap();
function shades(stops) {
  if (!shadesOf.has(stops)) {
    const mixed = Array.from({ length: SHADES }, (_, shade) => {
      const place = (shade / (SHADES - 1)) * (stops.length - 1);
      const index = Math.min(Math.floor(place), stops.length - 2);
      const [from, to] = [hexParts(stops[index]), hexParts(stops[index + 1])];
      return `rgb(${from.map((part, i) => Math.round(part + (place - index) * (to[i] - part))).join(", ")})`;
    });
    shadesOf.set(stops, mixed);
  }
  return shadesOf.get(stops);
}

const colour = (scale, value) => shades(scale.stops[theme])[Math.round(shareOf(scale, value) * (SHADES - 1))];

/* What colours a lane: the overlay, or the one in which its own policy does something. */
const OWN = "own";
const scaleFor = (lane) => scaleOf(state.overlay === OWN ? lane.shows : state.overlay);
const shown = () => (state.overlay === OWN ? [...new Set(state.lanes.map(scaleFor))] : [scaleOf(state.overlay)]).filter(Boolean);

/* Colours one token by `scale`, which is undefined where tokens have no colour. */
function paint(lane, span, token, scale) {
  const value = scale ? valueOf(lane, token, scale.name) : null;
  const beyond = value === null || scale.words.length ? "" : value > scale.high + 1e-9 ? "above" : value < scale.low - 1e-9 ? "below" : "";
  span.style.backgroundColor = value === null ? "" : colour(scale, value);
  if (span.classList.contains("pg-clipped") !== (beyond !== "")) span.classList.toggle("pg-clipped");
  if (!beyond || scale[beyond] === state.run) return;
  scale[beyond] = state.run;
  drawLegend();
}

/* ---- the bar: switch and legend ---- */
const bar = make("div", "pg-bar");
const group = make("div", "pg-switch");
group.setAttribute("role", "radiogroup");
group.setAttribute("aria-label", "Colour tokens by");
const legend = make("div", "pg-legend");
bar.append(group, legend);

function drawLegend() {
  legend.replaceChildren();
  for (const scale of shown()) {
    const part = make("div", "pg-key");
    part.setAttribute("role", "img");
    part.title = scale.help;
    if (state.overlay === OWN) part.append(make("strong", "", scale.title));
    legend.append(part);
    if (scale.words.length) drawWords(scale, part);
    else drawRuler(scale, part);
  }
}

function drawWords(scale, part) {
  scale.words.forEach((word, i) => {
    const swatch = make("span", "pg-swatch");
    swatch.style.backgroundColor = colour(scale, scale.low + i);
    const item = make("span", "pg-word");
    item.append(swatch, word);
    part.append(item);
  });
  part.setAttribute("aria-label", `${scale.title}: ${scale.words.join(", ")}`);
}

function drawRuler(scale, part) {
  const beyond = (side) => state.run !== null && scale[side] === state.run;
  const strip = make("div", "pg-strip");
  strip.style.backgroundImage = `linear-gradient(to right, ${scale.stops[theme].join(", ")})`;
  const ticks = make("div", "pg-ticks");
  scale.ticks.forEach((tick) => {
    const sign = tick === scale.high && beyond("above") ? "≥ " : tick === scale.low && beyond("below") ? "≤ " : "";
    const label = make("span", "", sign + tick.toLocaleString("en-US").replace("-", "−"));
    label.style.left = `${100 * shareOf(scale, tick)}%`;
    ticks.append(label);
  });
  const ruler = make("div", "pg-ruler");
  ruler.append(strip, ticks);
  const said = (text, className) => (text ? [make("span", className, text)] : []);
  part.append(...said(scale.ends[0], "pg-end"), ruler, ...said(scale.ends[1], "pg-end"), ...said(scale.unit, "pg-unit"));
  part.setAttribute("aria-label", `${scale.title} from ${scale.low} ${scale.unit} ${scale.ends[0]} to ${scale.high} ${scale.unit} ${scale.ends[1]}`);
}

/* What the visitor chooses stays chosen, and the charts follow it. */
function pick(name, focus) {
  state.chosen = group.dataset.chosen = name;
  choose(name, focus);
  trigger("overlay", {});
}

function choose(name, focus) {
  state.overlay = name;
  for (const button of group.children) {
    const on = button.dataset.overlay === name;
    button.setAttribute("aria-checked", String(on));
    button.tabIndex = on ? 0 : -1;
    if (on && focus) button.focus();
  }
  drawLegend();
  repaint();
}

/* The switch for the scales at hand: once a run is done, those that have a value in it. Until the visitor has chosen one
   that is there, the lanes show that in which their policies do something; where those differ, each its own. */
function drawSwitch() {
  const held = group.contains(document.activeElement);
  const own = state.scales.filter((scale) => !state.done || state.lanes.some((lane) => valuesOf(lane, scale.name).length));
  const names = [...scales, ...own].map((scale) => [scale.name, scale.title, scale.help]);
  const first = [...new Set(state.lanes.map((lane) => lane.shows))].filter(scaleOf);
  if (first.length > 1) names.unshift([OWN, "Each its own", "Each lane in the channel in which its policy does something."]);
  group.replaceChildren(
    ...[...names, ["none", "None", ""]].map(([name, title, help]) => {
      const button = make("button", "", title);
      button.type = "button";
      button.dataset.overlay = name;
      button.title = help;
      button.setAttribute("role", "radio");
      button.addEventListener("click", () => pick(name, false));
      return button;
    }),
  );
  const offered = [...group.children].map((button) => button.dataset.overlay);
  choose(offered.includes(state.chosen) ? state.chosen : first.length > 1 ? OWN : first[0] || scales[0].name, held);
}

group.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const names = [...group.children].map((button) => button.dataset.overlay);
  pick(names[(names.indexOf(state.overlay) + step + names.length) % names.length], true);
});
