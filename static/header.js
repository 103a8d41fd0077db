/* Fills the header from `fixed`: the model line and the reason for its precision are data, so they are set by textContent.
   The reason and the glossary (words.js) are in folds, which a keyboard and a finger reach too. */
const root = element.querySelector(".pg-header");

function make(tag, className, text) {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

root.append(make("h1", "", fixed.name), make("p", "pg-lead", fixed.lead));
if (fixed.reason) {
  const fold = make("details", "pg-model", "");
  const line = make("summary", "", fixed.model);
  line.title = fixed.reason;
  fold.append(line, make("p", "pg-reason", fixed.reason));
  root.append(fold);
} else {
  root.append(make("p", "pg-model", fixed.model));
}
const words = make("details", "pg-explained", "");
words.append(make("summary", "", "What do the words mean?"), glossary(fixed.words));
root.append(words);
