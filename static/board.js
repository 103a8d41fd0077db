/* The board: lanes of streamed tokens (lanes.js), coloured by one overlay (overlay.js), with a card for the token pointed
   at, focused or pressed (card.js, places.js). Runs once per component with Gradio's (element, trigger, props, server, upload, watch) and the
   constant `fixed`. The message format is in playground/ui/wire.py.

   Messages are kept as they come and read once a frame: a slow browser draws several at once, and a hidden tab, which has
   no frames, draws nothing until it is looked at again. */
const PER_FRAME = 300; // tokens
const root = element.querySelector(".pg-board");
const problem = make("p", "pg-problem");
problem.setAttribute("role", "alert");
problem.hidden = true;
const refused = make("p", "pg-problem"); // a run that never began; said until the next one begins
refused.setAttribute("role", "alert");
refused.hidden = true;
const earlier = make("p", "pg-queue", "What stands below is of the run before.");
earlier.hidden = true;
const queue = make("p", "pg-queue");
queue.setAttribute("role", "status");
queue.hidden = true;
const live = make("div", "pg-quiet");
live.setAttribute("aria-live", "polite");
const empty = make("div", "pg-empty");
empty.append(make("p", "", fixed.empty));
empty.hidden = !fixed.empty;
const stop = make("button", "pg-stop", "Stop");
stop.type = "button";
stop.hidden = true;
stop.addEventListener("click", () => document.getElementById(fixed.stop)?.click());
root.append(bar, refused, problem, queue, earlier, empty, grid, live);
if (fixed.stop) bar.append(stop);

/* ---- frames ---- */
const inbox = [];
let frame = 0;
let resting = false;

function take(value) {
  if (!value) return;
  inbox.push(value);
  wake();
}

function wake() {
  if (!resting) frame ||= requestAnimationFrame(turn);
}

/* Reads what has come and draws it; then rests as long as that took with its layout and painting, so that a slow machine
   keeps half of its time for whoever uses the page. */
function turn() {
  const began = performance.now();
  frame = 0;
  resting = true;
  let more = false;
  try {
    for (const value of inbox.splice(0)) apply(JSON.parse(value), false);
    more = draw(PER_FRAME);
    if (!more && state.closing) finish(state.closing);
  } finally {
    setTimeout(() => setTimeout(rest, performance.now() - began, more), 0);
  }
}

function rest(more) {
  resting = false;
  if (more || inbox.length) wake();
}

/* Draws up to `most` tokens that have arrived, shared by the lanes; true where some are left. */
function draw(most) {
  const share = Math.ceil(most / Math.max(1, state.lanes.length));
  for (const lane of state.lanes) drawTokens(lane, share, scaleFor(lane));
  return state.lanes.some((lane) => lane.spans.length < lane.tokens.length);
}

/* ---- messages ---- */
function say(node, sentence) {
  node.textContent = sentence || "";
  node.hidden = !sentence;
}

function begin(run, heads, ownScales) {
  const another = state.run !== run;
  if (another) state.past.add(state.run);
  Object.assign(state, { run, seq: -1, done: false, closing: null, scales: ownScales });
  refuse("");
  cards.clear();
  hideCard(true);
  grid.replaceChildren();
  grid.dataset.count = heads.length;
  state.lanes = heads.map(makeLane);
  drawSwitch();
  empty.hidden = true;
  live.textContent = "";
  root.classList.add("pg-running");
  stop.hidden = false;
  if (another) comeIntoSight();
}

/* Where the button that started the run stands far above, the run would begin out of sight. */
function comeIntoSight() {
  if (!fixed.stop || root.getBoundingClientRect().top < window.innerHeight / 2) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  root.scrollIntoView({ block: "start", behavior: still ? "auto" : "smooth" });
}

/* The lanes of the run before stay, marked as such. */
function refuse(sentence) {
  say(refused, sentence);
  const marked = Boolean(sentence) && state.lanes.length > 0;
  earlier.hidden = !marked;
  root.classList.toggle("pg-earlier", marked);
  if (sentence) comeIntoSight();
}

function apply(message, whole) {
  if (!message.run) return refuse(message.error);
  if (state.past.has(message.run)) return;
  if (message.waiting) {
    if (message.run !== state.run) begin(message.run, [], []);
    say(problem, "");
    return say(queue, message.waiting);
  }
  if (message.run !== state.run || message.heads?.length > state.lanes.length) {
    if (!message.heads) return void resync(message.run);
    begin(message.run, message.heads, message.scales);
  }
  if (!whole && message.seq <= state.seq) return;
  if (message.lanes.some((lane, i) => lane.from > state.lanes[i].tokens.length)) return void resync(message.run);
  say(problem, message.error);
  say(queue, "");
  if (!whole) state.seq = message.seq;
  message.lanes.forEach((lane, i) => {
    receive(state.lanes[i], lane.from, lane.tokens);
    state.lanes[i].section.classList.toggle("pg-ended", lane.ended);
  });
  if (message.done && !state.done) state.closing = message;
}

/* Nothing runs any more. The focus does not go with the Stop button, but to what stands beside it. */
function rested() {
  Object.assign(state, { done: true, closing: null });
  root.classList.remove("pg-running");
  if (document.activeElement === stop) group.querySelector('[tabindex="0"]').focus({ preventScroll: true });
  stop.hidden = true;
}

const ENDED = { Stop: "stopped", error: "broken off" };
function ending(lane, figures) {
  const how = ENDED[new Map(figures).get("ended by")] || "finished";
  return `${lane.label} ${how}, ${lane.tokens.length} ${lane.tokens.length === 1 ? "token" : "tokens"}.`;
}

function finish(message) {
  rested();
  for (const lane of state.lanes) lane.shows = firstSight(lane);
  drawSwitch();
  empty.hidden = !fixed.empty || state.lanes.length > 0;
  state.lanes.forEach((lane, i) => {
    lane.waits.remove();
    lane.table.hidden = false;
    say(lane.note, message.notes[i]);
    lane.figures.replaceChildren();
    for (const [name, value] of message.figures[i]) {
      const pair = make("div");
      pair.append(make("dt", "", name), make("dd", "", value));
      lane.figures.append(pair);
    }
  });
  live.textContent = state.lanes.map((lane, i) => ending(lane, message.figures[i])).join(" ");
}

/* Asks for what a lost message held; a message that shows another gap meanwhile makes it ask once more. */
let syncing = null;
let again = null;
async function resync(run) {
  if (syncing) {
    again = run;
    return;
  }
  syncing = run;
  try {
    const have = run === state.run ? state.lanes.map((lane) => lane.tokens.length) : [];
    const message = await server.resync({ run, have });
    if (message.error) say(problem, message.error);
    else apply(message, true);
    wake();
  } finally {
    syncing = null;
    if (again) resync(again);
    again = null;
  }
}

/* ---- pointing ---- */
const tokenAt = (target) => (target instanceof Element ? target.closest(".pg-token") : null);

/* Spans are made without a tabindex; the one that takes the focus is the lane's only tab stop from then on. */
function focusToken(span, options) {
  for (const other of span.closest(".pg-text").querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
  span.tabIndex = 0;
  span.focus(options);
}

/* Moves only: a token that scrolls under a resting pointer must not take the card from the one that has the focus. */
grid.addEventListener("pointermove", (event) => {
  const span = tokenAt(event.target);
  if (span && event.pointerType === "mouse" && !pinned) showCard(span);
});
grid.addEventListener("pointerout", (event) => {
  if (event.pointerType === "mouse" && current?.span === tokenAt(event.target)) hideCard(false);
});
let pinnedBefore = null; // the press may move the focus, and with it the card, before it becomes a click
grid.addEventListener("pointerdown", () => (pinnedBefore = pinned ? current?.span : null));
grid.addEventListener("click", (event) => {
  const span = tokenAt(event.target);
  if (!span) return;
  focusToken(span, { preventScroll: true });
  if (pinnedBefore === span) hideCard(true);
  else pinCard(span);
});
grid.addEventListener("focusin", (event) => {
  const span = tokenAt(event.target);
  if (span) showCard(span);
});
grid.addEventListener("focusout", () => hideCard(false));
grid.addEventListener("keydown", (event) => {
  const span = tokenAt(event.target);
  if (!span) return;
  const spans = laneOf(span).spans;
  const here = spans.indexOf(span);
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    if (!pinned) pinCard(span);
    card.focus({ preventScroll: true });
    return;
  }
  const next = { ArrowRight: here + 1, ArrowDown: here + 10, ArrowLeft: here - 1, ArrowUp: here - 10, Home: 0, End: spans.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  focusToken(spans[Math.min(Math.max(next, 0), spans.length - 1)]);
});
document.addEventListener("keydown", (event) => event.key === "Escape" && hideCard(true));
const follow = (event) => current && !card.hidden && event.target !== card && place(current.span);
window.addEventListener("scroll", follow, { passive: true, capture: true });
window.addEventListener("resize", follow);
document.addEventListener("click", (event) => {
  if (current && !tokenAt(event.target) && !card.contains(event.target)) hideCard(true);
});

/* A run whose server went away has no end (connection.js). */
window.addEventListener("pg-lost", () => {
  if (!root.classList.contains("pg-running")) return;
  rested();
  root.classList.add("pg-earlier");
  for (const lane of state.lanes) lane.waits.remove();
  say(queue, "");
  say(problem, "The server went away before this run ended; generate again when it is back.");
});

/* ---- start ---- */
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && state.lanes.length && !state.done) resync(state.run);
});
new MutationObserver(() => {
  if (theme === themeNow()) return;
  theme = themeNow();
  drawLegend();
  repaint();
}).observe(document.body, { attributes: true, attributeFilter: ["class"] });
watch("value", () => take(props.value));
drawSwitch();
take(props.value);
