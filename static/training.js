/* The state of a training: its phase with a bar, its sentence, and the counts as a table. The value is one string of JSON.
   Runs once per component with Gradio's (element, props, watch) and the constant `fixed`; text enters by textContent. */
const root = element.querySelector(".pg-training");
const COLUMNS = ["level", "loss", "votes", "prompts", "left out"];

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

const lead = make("p", "pg-lead");
const fold = make("details", "pg-table");
fold.append(make("summary", "", "Every level and loss"));
const phase = make("p", "pg-phase");
phase.setAttribute("role", "status");
const bar = make("progress", "pg-progress");
bar.setAttribute("aria-label", "progress of the training");
const sentence = make("p", "pg-sentence");
sentence.setAttribute("role", "status");
root.append(lead, fold, phase, bar, sentence);

function read() {
  try {
    return JSON.parse(props.value) || {};
  } catch {
    return {};
  }
}

function draw() {
  const told = read();
  lead.textContent = told.lead || "";
  fold.hidden = !told.rows?.length;
  fill(told.rows || []);
  const running = told.state === "running";
  phase.hidden = bar.hidden = !running;
  phase.textContent = running ? (told.total ? `${told.phase} ${told.done} of ${told.total}` : `${told.phase || "Starting"} …`) : "";
  if (told.total) {
    bar.max = told.total;
    bar.value = told.done;
  } else bar.removeAttribute("value");
  sentence.textContent = told.sentence || "";
  sentence.hidden = !told.sentence;
  sentence.classList.toggle("pg-problem", told.state === "error");
  root.dataset.state = told.state || "idle";
}

function fill(rows) {
  const key = JSON.stringify(rows);
  if (fold.dataset.rows === key) return;
  fold.dataset.rows = key;
  fold.querySelector(".pg-scroll")?.remove();
  const table = make("table");
  const head = table.createTHead().insertRow();
  for (const name of COLUMNS) head.append(make("th", "", name));
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const cell of row) line.append(make("td", "", cell));
  }
  const scroll = make("div", "pg-scroll");
  scroll.setAttribute("aria-label", "Votes that can train, by level and loss");
  scroll.append(table);
  fold.append(scroll);
}

draw();
watch("value", draw);
