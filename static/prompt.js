/* The prompt box as Gradio's own events in the browser: (act, prompts, values) → values. No request is made.

   A pick sets the prompt, and what belongs to it under the fold. A prompt typed by hand after that is another one, so what
   the pick had set goes, and what was typed by hand stays; the gallery says so and can put it back. `picked` is the
   gallery's value: {id} after a pick, {title, cleared} after it was cleared. */
(act, prompts, values) => {
  const FIELDS = ["prefill", "system", "source"];
  const NAMES = { source: "document", system: "system prompt", prefill: "beginning", stops: "stop strings" };
  const keep = { __type__: "update" };
  const set = (value) => typeof value === "string" && value.trim() !== "";
  if (act === "label") {
    const given = Object.keys(NAMES).filter((name, i) => set(values[i]));
    return { ...keep, label: given.length ? `More: ${given.map((name) => NAMES[name]).join(", ")} set` : "More: document, system prompt, stops" };
  }
  const [picked, prompt, ...fields] = values;
  const chosen = prompts.find((other) => other.id === picked?.id);
  if (act === "pick") return chosen ? [chosen.prompt, ...FIELDS.map((name) => chosen[name])] : [keep, keep, keep, keep];
  if (act === "restore") return [{ title: picked.title }, ...FIELDS.map((name, i) => (set(fields[i]) ? keep : picked.cleared?.[name] || ""))];
  if (!chosen || prompt.trim() === chosen.prompt.trim()) return [keep, keep, keep, keep];
  const mine = FIELDS.filter((name, i) => set(chosen[name]) && fields[i] === chosen[name]);
  const cleared = Object.fromEntries(mine.map((name) => [name, chosen[name]]));
  const said = { title: chosen.title, cleared, names: mine.map((name) => NAMES[name]) };
  return [said, ...FIELDS.map((name) => (mine.includes(name) ? "" : keep))];
}
