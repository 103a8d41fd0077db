/* Fills the header from `fixed`: the model line is data, so it is set by textContent. */
const root = element.querySelector(".pg-header");
for (const [tag, className, text] of [
  ["h1", "", fixed.name],
  ["p", "pg-lead", fixed.lead],
  ["p", "pg-model", fixed.model],
]) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  root.append(node);
}
