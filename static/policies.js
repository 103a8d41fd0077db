/* Two to four lanes, each a policy and its knobs; the component's value is the list of their specs.
   Runs once per component with Gradio's (element, trigger, props, server, upload, watch) and the constant `fixed`. Stands
   after specs.js and knobs.js in one scope. */
const root = element.querySelector(".pg-policies");
let kinds = new Map(fixed.kinds.map((kind) => [kind.name, kind]));
let lanes = [];

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/* Lanes from specs that name each other by number. */
function load(specs) {
  lanes = specs.map(read);
  for (const lane of lanes) resolve(lane, lanes);
}

function commit() {
  for (const lane of lanes) if (!lane.follows) resolve(lane, lanes); // a number that named no lane may name one now
  props.value = root.specs = lanes.map(write); // on the element, for connection.js
}

function set(lane, key, value) {
  Object.assign(lane, { draft: null, refused: "" });
  if (key.name === "of") lane.follows = null;
  if (value === "" || value === null) delete lane.values[key.name];
  else lane.values[key.name] = value;
  commit();
  lane.spec.value = write(lane);
  note();
}

/* Says at every knob what it may not be, and at every spec line why it is none. */
function note() {
  for (const lane of lanes) {
    for (const say of lane.notes) say();
    lane.note.textContent = lane.refused;
    lane.card.classList.toggle("pg-draft", lane.refused !== "");
  }
}

/* ---- one card a lane ---- */
function drawLane(lane, index) {
  const card = make("section", "pg-policy");
  Object.assign(lane, { card, notes: [] });
  card.setAttribute("aria-label", `Lane ${index + 1} policy`);
  const header = make("header");
  const mark = make("span", `pg-mark pg-mark-${index}`);
  mark.setAttribute("aria-hidden", "true");
  const select = make("select", "pg-kind");
  select.setAttribute("aria-label", `Lane ${index + 1} policy`);
  const groups = new Map();
  for (const kind of kinds.values()) {
    if (!groups.has(kind.group)) groups.set(kind.group, make("optgroup"));
    groups.get(kind.group).label = kind.group;
    const option = make("option", "", kind.missing ? `${kind.title} (${kind.missing})` : kind.title);
    option.value = kind.name;
    option.disabled = Boolean(kind.missing);
    groups.get(kind.group).append(option);
  }
  select.append(...groups.values());
  select.value = lane.name;
  select.title = kinds.get(lane.name)?.title || "";
  select.addEventListener("change", () => {
    const followed = follower(select.value) ? lane.follows : null;
    Object.assign(lane, read(select.value), { follows: followed });
    commit();
    draw();
    root.children[index].querySelector("select").focus();
  });
  header.append(mark, make("h3", "", `Lane ${index + 1}`), select);
  if (lanes.length > 2) header.append(remover(index));
  card.append(header);
  const kind = kinds.get(lane.name);
  if (kind) card.append(make("p", "pg-summary", kind.summary));
  if (kind?.needs_source) card.append(make("p", "pg-needs", "Give it the document under “More”, above."));
  const knobs = make("div", "pg-knobs");
  for (const key of knobsOf(lane.name)) if (!idle(lane, key)) knobs.append(control(lane, key));
  const folds = make("div", "pg-folds");
  folds.append(filters(lane));
  if (kind) folds.append(about(lane, kind));
  card.append(knobs, folds, specLine(lane, index));
  return card;
}

/* Formula, paper and departures of a kind, and what each of its knobs means. */
function about(lane, kind) {
  const details = make("details", "pg-about");
  details.append(make("summary", "", "How it works"));
  details.open = lane.aboutOpen || false;
  details.addEventListener("toggle", () => (lane.aboutOpen = details.open));
  details.append(make("code", "pg-formula", kind.formula), make("p", "", kind.source));
  if (kind.departure) details.append(make("p", "", `Here: ${kind.departure}`));
  const list = make("dl", "");
  for (const key of kind.keys) list.append(make("dt", "", key.name), make("dd", "", key.low === null && key.high === null ? key.help : `${key.help} (${key.allowed})`));
  details.append(list);
  return details;
}

function remover(index) {
  const button = make("button", "pg-remove", "×");
  button.type = "button";
  button.setAttribute("aria-label", `Remove lane ${index + 1}`);
  button.addEventListener("click", () => {
    lanes.splice(index, 1);
    commit();
    draw();
  });
  return button;
}

function filters(lane) {
  const details = make("details", "pg-filters");
  const listed = filtersOf(lane.name);
  const used = listed.filter((key) => lane.values[key.name] !== undefined).length;
  details.append(make("summary", "", used ? `Filters (${used} set)` : "Filters"));
  details.open = lane.filtersOpen || false;
  details.addEventListener("toggle", () => (lane.filtersOpen = details.open));
  for (const key of listed) details.append(control(lane, key));
  return details;
}

function specLine(lane, index) {
  const line = make("div", "pg-specline");
  const spec = make("input", "pg-specinput");
  spec.value = write(lane);
  spec.spellcheck = false;
  spec.setAttribute("aria-label", `Lane ${index + 1} spec, as on the command line`);
  const note = make("small", "pg-specnote");
  note.setAttribute("role", "status");
  spec.addEventListener("input", () => {
    lane.draft = spec.value; // what stands here runs, or is refused by its name
    commit();
  });
  spec.addEventListener("change", () => adopt(lane, spec.value));
  const copy = make("button", "pg-copy", "Copy");
  copy.type = "button";
  copy.setAttribute("aria-label", `Copy the spec of lane ${index + 1}`);
  copy.addEventListener("click", async () => {
    await navigator.clipboard?.writeText(spec.value);
    copy.textContent = "Copied";
    setTimeout(() => (copy.textContent = "Copy"), 1200);
  });
  line.append(spec, copy, note);
  Object.assign(lane, { spec, note });
  return line;
}

/* Makes the lane what its spec line says, or says there why not; a number in it means the lane that has it now. */
async function adopt(lane, text) {
  const among = [...lanes];
  const answer = await server.parse({ spec: text });
  if (lane.draft !== text || !lanes.includes(lane)) return;
  if (answer.error) {
    lane.refused = answer.error;
    return note();
  }
  Object.assign(lane, read(answer.spec));
  resolve(lane, among);
  commit();
  draw();
}

function draw() {
  root.replaceChildren(...lanes.map(drawLane));
  root.dataset.count = lanes.length;
  note();
  if (lanes.length >= 4) return;
  const add = make("button", "pg-add", "+ Add lane");
  add.type = "button";
  add.addEventListener("click", () => {
    lanes.push(read(fixed.added[lanes.length - 2]));
    commit();
    draw();
  });
  root.append(add);
}

/* A spec that the server set, or that the page kept, may be none: then its lane says so. */
function show(specs) {
  load(specs);
  draw();
  for (const lane of lanes) if (lane.draft !== null) adopt(lane, lane.draft);
}

/* What was kept in the browser, or what is set while no server answers, may be no list of specs: then the lanes stay. */
const listed = (value) => Array.isArray(value) && value.length > 0 && value.every((spec) => typeof spec === "string");

show(listed(props.value) ? props.value : fixed.added);
watch("value", () => {
  if (!listed(props.value)) return commit();
  if (JSON.stringify(props.value) === JSON.stringify(lanes.map(write))) return;
  show(props.value);
});

/* A head may have been trained since the page was opened: whenever the picker comes into view, it asks what there is. */
let offered = JSON.stringify(fixed.kinds);
new IntersectionObserver(async (entries) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  const answer = await server.offer({});
  const now = JSON.stringify(answer);
  if (!Array.isArray(answer) || now === offered) return;
  offered = now;
  kinds = new Map(answer.map((kind) => [kind.name, kind]));
  draw();
}).observe(root);
