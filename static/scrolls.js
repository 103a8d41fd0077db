/* What scrolls can be reached by keyboard: it becomes a stop of its own while it is larger than its frame. Tables of ours
   stand in a .pg-scroll with a name; those of a checkpoint's card are Gradio's. Stands before keys.js in one scope. */
const SCROLLING = ".pg-scroll, .pg-checkpoint .prose :is(table, pre)";
const scrolls = (node) => node.scrollWidth > node.clientWidth + 1 || node.scrollHeight > node.clientHeight + 1;

function nameOf(node) {
  if (node.ariaLabel) return node.ariaLabel;
  let before = node;
  while (before && !/^H[1-6]$/.test(before.tagName)) before = before.previousElementSibling;
  return before?.textContent || "Card of the checkpoint";
}

function reach(node) {
  if (!scrolls(node)) {
    node.removeAttribute("tabindex");
    return;
  }
  node.tabIndex = 0;
  node.ariaLabel = nameOf(node);
  if (node.tagName !== "TABLE") node.setAttribute("role", "region");
}

/* Looked at whenever a fold may have opened and before Tab may come to it. */
let looking = 0;
function look() {
  clearTimeout(looking);
  looking = setTimeout(() => document.querySelectorAll(SCROLLING).forEach(reach), 100);
}

for (const event of ["toggle", "click", "focusin"]) document.addEventListener(event, look, true);
window.addEventListener("resize", look);
