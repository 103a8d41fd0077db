/* Two blind replies as plain text. The value is {battle, run, seq, text: [left, right], done}; texts are cumulative, so
   a lost message costs nothing. Keys 1–4 press the vote buttons while nobody is typing. */
const root = element.querySelector(".pg-battle");

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text ?? "";
  return node;
}

const problem = make("p", "pg-problem");
problem.setAttribute("role", "alert");
problem.hidden = true;
const queue = make("p", "pg-queue");
queue.setAttribute("role", "status");
queue.hidden = true;
const lanes = make("div", "pg-lanes");
lanes.dataset.count = 2;
const texts = ["A", "B"].map((name) => {
  const section = make("section", "pg-lane");
  section.setAttribute("aria-label", `Reply ${name}`);
  const text = make("div", "pg-text pg-plain");
  text.dir = "auto";
  section.append(make("h3", "", name), text);
  lanes.append(section);
  return text;
});
const live = make("div", "pg-quiet");
live.setAttribute("aria-live", "polite");
root.append(problem, queue, lanes, live);

function apply(message) {
  problem.hidden = !message?.error;
  problem.textContent = message?.error || "";
  queue.hidden = !message?.waiting;
  queue.textContent = message?.waiting || "";
  root.hidden = !message;
  if (!message) return;
  lanes.hidden = !message.text;
  if (!message.text) return;
  texts.forEach((node, i) => {
    if (node.textContent === message.text[i]) return;
    node.replaceChildren();
    appendText(node, message.text[i]);
  });
  root.classList.toggle("pg-running", !message.done);
  live.textContent = message.done ? "Both replies finished. Vote with the keys 1 to 4." : "";
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable]") || !root.offsetParent) return;
  const id = { 1: "arena-left", 2: "arena-right", 3: "arena-tie", 4: "arena-both_bad" }[event.key];
  const button = id && document.getElementById(id);
  if (button && !button.disabled) button.click();
});
/* A battle whose server went away has no end (connection.js). */
window.addEventListener("pg-lost", () => {
  if (!root.classList.contains("pg-running") && queue.hidden) return;
  root.classList.remove("pg-running");
  queue.hidden = true;
  problem.hidden = false;
  problem.textContent = "The server went away before both replies ended; start another battle when it is back.";
});
watch("value", () => apply(props.value));
apply(props.value);
