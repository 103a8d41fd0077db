/* The prompt box as Gradio's own events in the browser: (act, prompts, values) → values. No request is made.

   A pick sets the prompt, and what belongs to it under the fold. What was typed by hand stays unless the pick stands in its
   place, and comes back with the next one that does not, or when asked for. A prompt typed by hand after a pick is another
   one, so what the pick had set goes. `picked` is the gallery's value: {id, before} when a chip is pressed, {id, title,
   cleared, names} after it, and {title, cleared, names} once a prompt was typed; `cleared` is what can be put back. */
(act, prompts, values) => {
  const FIELDS = ["prefill", "system", "source"];
  const NAMES = { source: "document", system: "system prompt", prefill: "beginning", stops: "stop strings", prompt: "prompt" };
  const keep = { __type__: "update" };
  const set = (value) => typeof value === "string" && value.trim() !== "";
  const named = (cleared) => Object.keys(cleared).map((name) => NAMES[name]);
  if (act === "label") {
    const given = ["source", "system", "prefill", "stops"].filter((name, i) => set(values[i]));
    return { ...keep, label: given.length ? `More: ${given.map((name) => NAMES[name]).join(", ")} set` : "More: document, system prompt, stops" };
  }
  const [picked, prompt, ...fields] = values;
  const chosen = prompts.find((other) => other.id === picked?.id);
  const still = (name, i) => set(chosen?.[name]) && fields[i] === chosen[name]; // as the pick had set it

  /* What was typed by hand: it stands in its field, or the pick before stands in its place. */
  function own() {
    const before = picked.before || {};
    const last = prompts.find((other) => other.id === before.id);
    const held = {};
    if (!prompts.some((other) => other.prompt.trim() === prompt.trim())) held.prompt = prompt;
    else if (last?.prompt.trim() === prompt.trim()) held.prompt = before.cleared?.prompt;
    FIELDS.forEach((name, i) => (held[name] = last && set(last[name]) && fields[i] === last[name] ? before.cleared?.[name] : fields[i]));
    return Object.fromEntries(Object.entries(held).filter(([, value]) => set(value)));
  }

  if (act === "pick") {
    if (!chosen) return [keep, keep, keep, keep, keep];
    const mine = own();
    const cleared = Object.fromEntries(Object.entries(mine).filter(([name, value]) => set(chosen[name]) && chosen[name] !== value));
    const said = { id: chosen.id, title: chosen.title, cleared, names: named(cleared) };
    return [said, chosen.prompt, ...FIELDS.map((name) => chosen[name] || mine[name] || "")];
  }
  if (act === "restore") {
    const back = picked.cleared || {};
    if (!chosen) return [{ title: picked.title }, keep, ...FIELDS.map((name, i) => (set(fields[i]) ? keep : back[name] || ""))];
    const cleared = FIELDS.map((name, i) => back[name] ?? (back.prompt && still(name, i) ? "" : keep));
    return [back.prompt ? {} : { id: chosen.id }, back.prompt ?? keep, ...cleared];
  }
  if (!chosen || prompt.trim() === chosen.prompt.trim()) return [keep, keep, keep, keep];
  const gone = FIELDS.filter(still);
  const cleared = Object.fromEntries(gone.map((name) => [name, chosen[name]]));
  const said = { title: chosen.title, cleared, names: named(cleared) };
  return [said, ...FIELDS.map((name) => (gone.includes(name) ? picked.cleared?.[name] || "" : keep))];
}
