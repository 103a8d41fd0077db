/* The card of one token: its numbers, the policy's choice of temperature, and the candidates. Stands before board.js in
   one scope, after places.js; the server answers `inspect` once a token. A token that is pointed at or focused shows its
   card; one that is pressed (click, tap, Enter) pins it: it then stays, can be scrolled, and Escape or × closes it. */
const REDRAW_PAUSE = 60;
const cards = new Map();
const card = make("div", "pg-card");
card.id = `pg-card-${Math.random().toString(36).slice(2)}`;
card.setAttribute("role", "tooltip");
card.hidden = true;
const close = make("button", "pg-close", "×");
close.type = "button";
close.setAttribute("aria-label", "Close the card");
(element.closest("main") || document.body).append(card);
let current = null;
let pinned = false;
let opening = 0;
let closing = 0;

const percent = (p) => (p >= 0.9995 ? "100 %" : p >= 0.1 ? `${(100 * p).toFixed(1)} %` : p >= 0.0001 ? `${(100 * p).toFixed(2)} %` : p > 0 ? "< 0.01 %" : "0");
const visible = (text) => (text === "" ? "part of a character" : spelled(text).replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/ /g, "␣"));

function fact(name, value, note) {
  const row = make("div");
  row.append(make("dt", "", name), make("dd", "", value));
  if (note) row.lastChild.append(make("small", "", note));
  return row;
}

/* A channel's value with its unit; bits also in nats, which the rest of the card is in. */
function own(scale, value) {
  if (scale.words.length || value === null) return fact(scale.title, inWords(scale, value));
  const said = inWords(scale, value);
  const unit = scale.counts && said === "1" ? scale.unit.replace(/s$/, "") : scale.unit;
  return fact(scale.title, said, scale.unit === "bits" ? ` bits, ${short(value * Math.LN2)} nats` : ` ${unit}`);
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
  header.append(make("strong", "", details?.name ?? visible(token[0])), make("span", "", `${lane.label} · token ${position + 1}`), close);
  const facts = make("dl", "pg-facts");
  facts.append(
    fact("temperature", short(token[1])),
    fact("entropy", short(token[2]), " nats"),
    fact("p at T = 1", token[3] === null ? "0" : percent(Math.exp(token[3]))),
    fact("p as drawn", details ? percent(details.prob_drawn ?? 0) : "…"),
    ...lane.channels.map(scaleOf).map((scale) => own(scale, valueOf(lane, token, scale.name))),
  );
  card.append(header, facts);
  if (!details) return;
  if (details.error) {
    card.append(make("p", "", details.error));
    return;
  }
  if (details.grid) card.append(make("h4", "", "The policy’s choice of temperature"), gridChart(details.grid));
  card.append(make("h4", "", "Next-token candidates"), candidates(details.alternatives, details.names));
  if (details.cut) card.append(make("p", "pg-cut", `Cut before the draw: at least ${percent(details.cut)} of the mass at T = 1.`));
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

function candidates(rows, names) {
  const list = make("div", "pg-candidates");
  list.append(make("small", "", ""), make("small", "", "at T = 1"), make("small", "", "as drawn"));
  for (const [i, [text, before, after, drawn]] of rows.entries()) {
    const name = make("span", drawn ? "pg-piece pg-drawn" : "pg-piece", names[i] ?? visible(text));
    const left = make("span", "pg-prob", percent(before));
    const right = make("span", "pg-prob", after === null ? "cut" : percent(after));
    left.prepend(barRow("pg-before", before));
    right.prepend(barRow(after === null ? "pg-gone" : "pg-after", after ?? 0));
    list.append(name, left, right);
  }
  return list;
}

/* ---- showing ---- */
function hideCard(now) {
  clearTimeout(closing);
  if (now) closeCard();
  else if (!pinned) closing = setTimeout(closeCard, 120);
}

function closeCard() {
  clearTimeout(opening);
  if (card.contains(document.activeElement)) current?.span.focus({ preventScroll: true });
  pin(false);
  clearTimeout(opening);
  card.hidden = true;
  current?.span.removeAttribute("aria-describedby");
  current?.span.classList.remove("pg-current");
  current = null;
  showInCharts(null);
}

function pin(on) {
  pinned = on;
  card.classList.toggle("pg-pinned", on);
  card.setAttribute("role", on ? "dialog" : "tooltip");
  if (on) card.tabIndex = 0;
  else card.removeAttribute("tabindex");
  close.hidden = !on;
}

/* Shows the card of a token and keeps it open. */
function pinCard(span) {
  showCard(span);
  pin(true);
  makeRoom(span, () => current?.span === span && place(span));
}

function showCard(span) {
  clearTimeout(closing);
  if (current?.span === span) return;
  clearTimeout(opening);
  current?.span.classList.remove("pg-current");
  current?.span.removeAttribute("aria-describedby");
  const lane = laneOf(span);
  const position = lane.spans.indexOf(span);
  current = { span, lane, position };
  span.classList.add("pg-current");
  span.setAttribute("aria-describedby", card.id);
  opening = setTimeout(() => open(span, lane, position), card.hidden ? REDRAW_PAUSE : 0);
}

async function open(span, lane, position) {
  const key = `${state.run}/${lane.index}/${position}`;
  const draw = () => {
    fillCard(lane, position, cards.get(key));
    card.setAttribute("aria-label", `${lane.label}, token ${position + 1}`);
    card.hidden = false;
    place(span);
  };
  draw();
  showInCharts(position);
  if (cards.has(key)) return;
  const details = await server.inspect({ run: state.run, lane: lane.index, position });
  cards.set(key, details);
  if (current?.span === span) draw();
}

close.addEventListener("click", () => hideCard(true));

/* Tab goes from the card to its button and on to the token again, which is where it came from. */
card.addEventListener("keydown", (event) => {
  if (event.key !== "Tab" || !current) return;
  const next = event.shiftKey ? (event.target === close ? card : current.span) : event.target === card ? close : current.span;
  event.preventDefault();
  next.focus({ preventScroll: true });
});
