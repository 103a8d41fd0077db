/* The lanes: their headings, and their tokens as spans. What has arrived (`tokens`) and what is drawn (`spans`) are kept
   apart: tokens arrive by message, spans are made once a frame. Stands before board.js in one scope. Model text enters
   the page by textContent only. */
const grid = make("div", "pg-lanes");
const blank = make("span", "pg-token");

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
  text.setAttribute("aria-label", `${label}: tokens; the arrow keys move between them, Enter opens a card`);
  if (head.prefill) {
    const given = make("bdi", "pg-prefill");
    appendText(given, head.prefill);
    text.append(given);
  }
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
  const lane = { index, label, channels, shows: head.shows, section, plain, text, line: text, caret, waits, figures, note, table, tokens: [], spans: [] };
  return lane;
}

const laneOf = (span) => state.lanes[Number(span.closest(".pg-lane").dataset.lane)];

function fillText(span, text) {
  if (text === "") span.classList.add("pg-void");
  text.split("\n").forEach((part, i) => {
    if (i) span.append(make("i", "pg-newline"), "\n");
    if (part) appendText(span, part);
  });
}

/* Takes tokens from place `from` on. One that is there already keeps its place; its text may have changed at the end, where
   a reply ended inside a character. */
function receive(lane, from, tokens) {
  tokens.forEach((token, i) => {
    const place = from + i;
    const known = lane.tokens[place];
    lane.tokens[place] = token;
    const span = lane.spans[place];
    if (!span || known[0] === token[0]) return;
    span.token = token;
    span.replaceChildren();
    span.classList.remove("pg-void");
    fillText(span, token[0]);
  });
}

/* Draws up to `most` tokens that have arrived; returns how many it drew. What follows a newline begins a block of its own,
   so that a browser lays out the last paragraph, not the whole reply, for a new token. */
function drawTokens(lane, most, scale) {
  const from = lane.spans.length;
  const to = Math.min(lane.tokens.length, from + most);
  if (from === to) return 0;
  lane.caret.remove();
  lane.waits.remove();
  let fragment = document.createDocumentFragment();
  for (let place = from; place < to; place += 1) {
    const span = blank.cloneNode(false);
    span.token = lane.tokens[place]; // the numbers as recorded, for whoever reads the page with a script
    if (place === 0) span.tabIndex = 0;
    fillText(span, lane.tokens[place][0]);
    paint(lane, span, lane.tokens[place], scale);
    lane.spans.push(span);
    fragment.append(span);
    if (!lane.tokens[place][0].endsWith("\n")) continue;
    lane.line.append(fragment);
    lane.line = make("div");
    lane.text.append(lane.line);
    fragment = document.createDocumentFragment();
  }
  fragment.append(lane.caret);
  lane.line.append(fragment);
  return to - from;
}

function repaint() {
  const own = state.scales.find((other) => other.name === state.overlay);
  const noted = state.overlay === OWN || (own && state.lanes.some((lane) => !lane.channels.includes(own.name)));
  for (const lane of state.lanes) {
    const scale = scaleFor(lane);
    lane.spans.forEach((span, i) => paint(lane, span, lane.tokens[i], scale));
    lane.plain.hidden = !noted; // in every lane or in none, so that the texts begin side by side
    const lacks = own && !lane.channels.includes(own.name);
    lane.plain.textContent = state.overlay === OWN ? `by ${scale?.title}` : lacks ? `no “${own.title}”` : "";
  }
}

function fillTable(lane) {
  lane.table.querySelector(".pg-scroll")?.remove();
  const table = make("table");
  const head = table.createTHead().insertRow();
  const own = lane.channels.map(scaleOf);
  for (const name of ["", "token", "T", "entropy", "surprisal", ...own.map((scale) => scale.title)]) head.append(make("th", "", name));
  const body = table.createTBody();
  lane.tokens.forEach((token, i) => {
    const row = body.insertRow();
    row.append(make("td", "", String(i + 1)), make("td", "pg-piece", visible(token[0])));
    for (const name of ["temperature", "entropy", "surprisal"]) row.append(make("td", "", short(valueOf(lane, token, name))));
    for (const scale of own) row.append(make("td", "", inWords(scale, valueOf(lane, token, scale.name))));
  });
  const scroll = make("div", "pg-scroll");
  scroll.setAttribute("aria-label", `${lane.label}: tokens as a table`);
  scroll.append(table);
  lane.table.append(scroll);
}
