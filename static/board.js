/* The board: lanes of streamed tokens, coloured by one overlay (overlay.js), with a card for the token pointed at or
   focused (card.js). Runs once per component with Gradio's (element, trigger, props, server, upload, watch) and the
   constant `fixed`. The message format is in playground/ui/wire.py. Model text enters the page by textContent only. */
const root = element.querySelector(".pg-board");

function repaint() {
  for (const lane of state.lanes) {
    lane.spans.forEach((span, i) => paint(lane, span, lane.tokens[i]));
    const own = state.scales.find((scale) => scale.name === state.overlay);
    lane.plain.hidden = !own || lane.channels.includes(own.name);
    lane.plain.textContent = own ? `no “${own.title}”` : "";
  }
}

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
  const plain = make("small", "pg-without");
  plain.hidden = true;
  header.append(plain);
  const text = make("div", "pg-text");
  text.dir = "auto";
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", `${label}: tokens; the arrow keys move between them`);
  if (head.prefill) text.append(make("span", "pg-prefill", head.prefill));
  const caret = make("span", "pg-caret");
  caret.setAttribute("aria-hidden", "true");
  const waits = make("span", "pg-waits", head.waits);
  text.append(caret, waits);
  const figures = make("dl", "pg-figures");
  const table = make("details", "pg-table");
  table.hidden = true;
  table.append(make("summary", "", "Tokens as a table"));
  table.addEventListener("toggle", () => table.open && fillTable(lane));
  const note = make("p", "pg-note");
  note.hidden = true;
  section.append(header, text, figures, note, table);
  grid.append(section);
  const channels = head.channels || [];
  const lane = { index, label, channels, section, plain, text, caret, waits, figures, note, table, tokens: [], spans: [] };
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
    paint(lane, span, token);
    lane.tokens.push(token);
    lane.spans.push(span);
    fragment.append(span);
  }
  lane.text.insertBefore(fragment, lane.caret);
  if (lane.tokens.length) lane.waits.remove();
}

/* A reply that ends inside a character: what was held back joins a token that was sent before. */
function correctTexts(lane, tokens) {
  tokens.forEach((token, i) => {
    if (lane.tokens[i][0] === token[0]) return;
    lane.tokens[i] = token;
    lane.spans[i].replaceChildren();
    lane.spans[i].classList.remove("pg-void");
    fillText(lane.spans[i], token[0]);
  });
}

function fillTable(lane) {
  lane.table.querySelector("table")?.remove();
  const table = make("table");
  const head = table.createTHead().insertRow();
  const own = lane.channels.map(scaleOf);
  for (const name of ["", "token", "T", "entropy", "surprisal", ...own.map((scale) => scale.title)]) head.append(make("th", "", name));
  const body = table.createTBody();
  lane.tokens.forEach((token, i) => {
    const row = body.insertRow();
    row.append(make("td", "", String(i)), make("td", "pg-piece", visible(token[0])));
    for (const name of ["temperature", "entropy", "surprisal"]) row.append(make("td", "", short(valueOf(lane, token, name))));
    for (const scale of own) row.append(make("td", "", inWords(scale, valueOf(lane, token, scale.name))));
  });
  lane.table.append(table);
}

/* ---- messages ---- */
function begin(message) {
  Object.assign(state, { run: message.run, seq: -1, done: false, scales: message.scales || [] });
  cards.clear();
  hideCard(true);
  grid.replaceChildren();
  grid.dataset.count = message.heads.length;
  state.lanes = message.heads.map(makeLane);
  drawSwitch();
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
    root.classList.remove("pg-running");
    state.done = true;
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
  message.lanes.forEach((lane, i) => {
    addTokens(state.lanes[i], lane.from, lane.tokens);
    state.lanes[i].section.classList.toggle("pg-ended", lane.ended);
  });
  if (message.done && !state.done) finish(message);
}

function finish(message) {
  state.done = true;
  root.classList.remove("pg-running");
  state.lanes.forEach((lane, i) => {
    correctTexts(lane, message.lanes[i].tokens);
    lane.waits.remove();
    lane.table.hidden = false;
    lane.note.textContent = message.notes[i];
    lane.note.hidden = !message.notes[i];
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
drawSwitch();
apply(props.value, false);
