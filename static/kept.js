/* What was typed, kept for this tab of the browser over a reload: as Gradio's own events, (act, …) → values. No request is
   made, and nothing but the forms is kept. */
(act, name, values) => {
  const KEY = "adaptive-decoding-form";
  const stored = () => {
    try {
      return JSON.parse(sessionStorage.getItem(KEY)) || {};
    } catch {
      return {}; // no storage here, or not ours
    }
  };
  if (act === "load") {
    const [all, keep] = [stored(), { __type__: "update" }];
    window.pgRestored = true;
    const [wanted, tabs] = name;
    const forms = wanted.flatMap(([form, count]) => (all[form]?.length === count ? all[form] : Array(count).fill(keep)));
    return [...forms, tabs.includes(all.tab) ? { ...keep, selected: all.tab } : keep];
  }
  if (name === "tab" && !window.pgRestored) return []; // the first tab opens by itself, before what was kept is read
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ ...stored(), [name]: values }));
  } catch {
    // a full or forbidden storage keeps nothing
  }
  return [];
}
