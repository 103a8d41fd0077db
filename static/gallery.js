/* Prompts by family as chips; a click sets the value to {id, before} and triggers "pick". What static/prompt.js cleared, of a
   pick or of one's own, is said below, and "restore" puts it back. Families and chips are one tab stop each; the arrow keys move in them. */
const root = element.querySelector(".pg-gallery");
const families = new Map();
for (const prompt of fixed.prompts) {
  if (!families.has(prompt.family)) families.set(prompt.family, []);
  families.get(prompt.family).push(prompt);
}

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  node.textContent = text ?? "";
  return node;
}

const tabs = make("div", "pg-families");
tabs.setAttribute("role", "group");
tabs.setAttribute("aria-label", "Prompt families");
const chips = make("div", "pg-chips");
const said = make("p", "pg-cleared");
said.setAttribute("role", "status");
root.append(tabs, chips, said);

/* The button of a group that Tab comes to. */
function stopAt(group, button) {
  for (const other of group.children) other.tabIndex = other === button ? 0 : -1;
}

for (const group of [tabs, chips]) {
  group.addEventListener("focusin", (event) => event.target.closest("button") && stopAt(group, event.target));
  group.addEventListener("keydown", (event) => {
    const [here, last] = [[...group.children].indexOf(event.target), group.children.length - 1];
    const next = { ArrowRight: here + 1, ArrowDown: here + 1, ArrowLeft: here - 1, ArrowUp: here - 1, Home: 0, End: last }[event.key];
    if (next === undefined || here < 0) return;
    event.preventDefault();
    group.children[Math.min(Math.max(next, 0), last)].focus();
  });
}

function open(family) {
  for (const tab of tabs.children) tab.setAttribute("aria-pressed", String(tab.dataset.family === family));
  chips.replaceChildren(
    ...families.get(family).map((prompt) => {
      const chip = make("button", "pg-chip", prompt.title);
      chip.type = "button";
      chip.title = prompt.prompt;
      chip.addEventListener("click", () => {
        const { id, cleared } = props.value || {};
        props.value = { id: prompt.id, before: { id, cleared } };
        trigger("pick", { id: prompt.id });
      });
      return chip;
    }),
  );
  stopAt(chips, chips.children[0]);
  chips.scrollLeft = 0;
}

for (const family of families.keys()) {
  const tab = make("button", "pg-family", family.replace(/-/g, " "));
  tab.type = "button";
  tab.dataset.family = family;
  tab.addEventListener("click", () => open(family));
  tabs.append(tab);
}
if (families.size) open(families.keys().next().value);
stopAt(tabs, tabs.children[0]);

/* Says what of one's own a pick stands in place of, and what of a pick went when a prompt of one's own was typed. */
function say() {
  const { id, names = [], title } = props.value || {};
  if (!names.length) return said.replaceChildren();
  const listed = names.join(" and ");
  const told = id ? `“${title}” stands in place of your ${listed}. ` : `A prompt of your own: the ${listed} of “${title}” ${names.length > 1 ? "are" : "is"} cleared. `;
  const back = make("button", "pg-link", "Put back");
  back.type = "button";
  back.addEventListener("click", () => trigger("restore", {}));
  said.replaceChildren(told, back);
}

watch("value", say);
say();
