/* The board's last message with the overlay that the visitor chose, if any: what the server draws the charts by. */
(message) => {
  const chosen = document.querySelector("#compare-board [role=radiogroup]")?.dataset.chosen;
  return [JSON.stringify({ ...JSON.parse(message || "{}"), overlay: chosen || "" })];
};
