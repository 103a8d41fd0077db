/* Fills the header from props: the model line is data, so it is set by textContent. */
const root = element.querySelector(".pg-header");
for (const [tag, className, text] of [
  ["h1", "", props.name],
  ["p", "pg-lead", props.lead],
  ["p", "pg-model", props.model],
]) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  root.append(node);
}
