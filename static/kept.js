/* What was typed, kept for this tab of the browser over a reload: as Gradio's own events, (key, act, …) → values. No request is
   made, and nothing but the forms is kept. */
(KEY, act, name, values) => {
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
