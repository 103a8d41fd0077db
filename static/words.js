/* The glossary as a list: its words and what each means. Stands before header.js and methods.js, in one scope with each. */
function glossary(words) {
  const list = document.createElement("dl");
  list.className = "pg-words";
  for (const [word, meaning] of words) {
    const [term, said] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, said.textContent] = [word, meaning];
    list.append(term, said);
  }
  return list;
}
