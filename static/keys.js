/* Ctrl+Enter and Cmd+Enter in a text of a tab press the button that starts there; `fixed.buttons` are their ids. */
const FIELDS = "textarea";

function starter() {
  const buttons = fixed.buttons.map((id) => document.getElementById(id));
  return buttons.find((button) => button?.offsetParent);
}

document.addEventListener("focusin", () => starter()?.setAttribute("aria-keyshortcuts", "Control+Enter Meta+Enter"));
document.addEventListener(
  "keydown",
  (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    const button = event.target.closest?.(FIELDS) && starter();
    if (!button) return;
    event.preventDefault();
    event.stopPropagation();
    if (!event.repeat && !button.disabled) button.click();
  },
  true,
);
