/* Characters that show nothing and reorder or join what stands beside them. Each stays in the text, but in a box of its own
   that ends its effect, with its code as a mark: the stored text is what is copied, and no reply can turn round what
   stands after it. The joiners of emoji and scripts (U+200C, U+200D) are left alone. Stands before whatever shows text of
   a model or a visitor. */
const CONTROLS = /([\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff])/;
const codeOf = (character) => `U+${character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;

/* Appends `text` to `node`. */
function appendText(node, text) {
  if (!CONTROLS.test(text)) {
    node.append(text);
    return;
  }
  text.split(CONTROLS).forEach((part, i) => {
    if (i % 2 === 0) {
      if (part) node.append(part);
      return;
    }
    const box = document.createElement("bdi");
    box.className = "pg-control";
    box.dataset.code = codeOf(part);
    box.textContent = part;
    node.append(box);
  });
}

const spelled = (text) => text.split(CONTROLS).map((part, i) => (i % 2 ? `‹${codeOf(part)}›` : part)).join("");
