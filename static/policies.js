/* Two to four lanes, each a policy and its knobs; the component's value is the list of their specs.
   Runs once per component with Gradio's (element, trigger, props, server, upload, watch) and the constant `fixed`. The grammar of a spec is
   name:key=value,key=value; the server parses it again and is the judge. */
const root = element.querySelector(".pg-policies");
let kinds = new Map(fixed.kinds.map((kind) => [kind.name, kind]));
let lanes = [];

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function read(spec) {
  const [name, rest = ""] = [spec.split(":")[0].trim(), spec.includes(":") ? spec.slice(spec.indexOf(":") + 1) : ""];
  const values = {};
  for (const pair of rest.split(",").filter((part) => part.trim())) {
    const at = pair.indexOf("=");
    values[pair.slice(0, at < 0 ? undefined : at).trim()] = at < 0 ? "" : pair.slice(at + 1).trim();
  }
  return { name, values };
}

function write(lane) {
  const known = keysOf(lane.name);
  const kept = Object.keys(lane.values).filter((key) => {
    const own = known.find((candidate) => candidate.name === key);
    return !own || own.default === null || !same(own, lane.values[key]);
  });
  return lane.name + (kept.length ? ":" + kept.sort().map((key) => `${key}=${lane.values[key]}`).join(",") : "");
}

const knobsOf = (name) => kinds.get(name)?.knobs || [];
const filtersOf = (name) => fixed.filters.filter((key) => kinds.get(name)?.filters.includes(key.name));
const keysOf = (name) => [...knobsOf(name), ...filtersOf(name)];
const same = (key, value) => (key.kind === "float" || key.kind === "int" ? Number(value) === Number(key.default) : String(value) === String(key.default));
const valueOf = (lane, key) => lane.values[key.name] ?? (key.default === null ? "" : String(key.default));

function commit() {
  props.value = lanes.map(write);
}

function set(lane, key, value) {
  if (value === "" || value === null) delete lane.values[key.name];
  else lane.values[key.name] = value;
  commit();
  lane.spec.value = write(lane);
  lane.note.textContent = "";
}

/* A knob that means nothing at the present value of another one. */
function idle(lane, key) {
  if (!key.only_with) return false;
  const [name, wanted] = key.only_with;
  const other = knobsOf(lane.name).find((candidate) => candidate.name === name);
  return valueOf(lane, other) !== String(wanted);
}

/* ---- one control a key ---- */
function control(lane, key) {
  const row = make("label", "pg-knob");
  row.title = key.help;
  row.append(make("span", "", key.name.replace(/_/g, " ")));
  row.append(...(key.name === "of" ? others : { choice: choices, checkpoint: choices }[key.kind] || numbers)(lane, key));
  return row;
}

function choices(lane, key) {
  const named = kinds.get(lane.name)?.checkpoints || [];
  const values = key.kind === "checkpoint" ? [...new Set([key.default, ...named, valueOf(lane, key)])] : key.choices;
  return [picker(lane, key, values.map((value) => [value, value]))];
}

/* `of`: the lane that is followed, by its number; 0 is none. */
function others(lane, key) {
  const numbers = lanes.map((_, index) => index + 1).filter((number) => lanes[number - 1] !== lane);
  const listed = [...new Set([...numbers.map(String), valueOf(lane, key)])].filter((number) => number !== "0").sort();
  const options = listed.map((number) => [number, `Lane ${number}`]);
  return [picker(lane, key, key.low === 0 ? [["0", "no lane"], ...options] : options)];
}

function picker(lane, key, options) {
  const select = make("select");
  select.setAttribute("aria-label", key.name.replace(/_/g, " "));
  for (const [value, text] of options) {
    const option = make("option", "", text);
    option.value = value;
    select.append(option);
  }
  select.value = valueOf(lane, key);
  select.addEventListener("change", () => {
    set(lane, key, select.value);
    const dependent = knobsOf(lane.name).filter((other) => other.only_with?.[0] === key.name);
    if (!dependent.length) return;
    for (const other of dependent) if (idle(lane, other)) delete lane.values[other.name];
    commit();
    draw();
    root.querySelectorAll(".pg-policy")[lanes.indexOf(lane)].querySelector(`select[data-key="${key.name}"]`)?.focus();
  });
  select.dataset.key = key.name;
  return select;
}

function numbers(lane, key) {
  const number = make("input");
  number.type = "number";
  number.value = valueOf(lane, key);
  number.step = "any";
  number.setAttribute("aria-label", key.name);
  if (key.low !== null) number.min = key.low;
  if (key.high !== null) number.max = key.high;
  if (key.low === null || key.high === null || key.high - key.low > 20) {
    number.addEventListener("input", () => set(lane, key, number.value));
    return [number];
  }
  const slider = make("input");
  slider.type = "range";
  slider.step = key.kind === "int" ? 1 : key.high - key.low > 3 ? 0.1 : 0.01;
  slider.min = key.low_open ? Number(slider.step) : key.low;
  slider.max = key.high;
  slider.value = number.value;
  slider.setAttribute("aria-label", `${key.name} slider`);
  slider.addEventListener("input", () => {
    number.value = slider.value;
    set(lane, key, slider.value);
  });
  number.addEventListener("input", () => {
    slider.value = number.value;
    set(lane, key, number.value);
  });
  return [slider, number];
}

/* ---- one card a lane ---- */
function drawLane(lane, index) {
  const card = make("section", "pg-policy");
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
    Object.assign(lane, { name: select.value, values: {} });
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
  spec.addEventListener("change", async () => {
    const answer = await server.parse({ spec: spec.value });
    if (answer.error) {
      note.textContent = answer.error;
      return;
    }
    Object.assign(lane, read(answer.spec));
    commit();
    draw();
  });
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

function draw() {
  root.replaceChildren(...lanes.map(drawLane));
  root.dataset.count = lanes.length;
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

lanes = props.value.map(read);
draw();
watch("value", () => {
  if (JSON.stringify(props.value) === JSON.stringify(lanes.map(write))) return;
  lanes = props.value.map(read);
  draw();
});

/* A head may have been trained since the page was opened: whenever the picker comes into view, it asks what there is. */
let offered = JSON.stringify(fixed.kinds);
new IntersectionObserver(async (entries) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  const listed = await server.offer({});
  const now = JSON.stringify(listed);
  if (!Array.isArray(listed) || now === offered) return;
  offered = now;
  kinds = new Map(listed.map((kind) => [kind.name, kind]));
  draw();
}).observe(root);
