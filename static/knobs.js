/* One control a knob, with a note beside it that says at once what the knob may not be. Stands between specs.js and
   policies.js in one scope. */
function control(lane, key) {
  const row = make("label", "pg-knob");
  row.title = key.help;
  const said = make("small", "pg-knobnote");
  said.setAttribute("role", "status");
  lane.notes.push(() => (said.textContent = refusal(lane, key)));
  row.append(make("span", "", key.name.replace(/_/g, " ")));
  row.append(...(key.name === "of" ? others : { choice: choices, checkpoint: choices }[key.kind] || numbers)(lane, key), said);
  return row;
}

function choices(lane, key) {
  const named = kinds.get(lane.name)?.checkpoints || [];
  const values = key.kind === "checkpoint" ? [...new Set([key.default, ...named, valueOf(lane, key)])] : key.choices;
  return [picker(lane, key, values.map((value) => [value, value]))];
}

/* `of`: the lane that is followed, by its number and policy; 0 is none. */
function others(lane, key) {
  const listed = lanes.flatMap((other, index) => (other === lane ? [] : [[String(index + 1), `Lane ${index + 1} · ${titleOf(other)}`]]));
  const now = valueOf(lane, key);
  if (now !== "0" && !listed.some(([number]) => number === now)) listed.push([now, now === GONE ? "a lane that was removed" : `Lane ${now}`]);
  return [picker(lane, key, key.low === 0 ? [["0", "no lane"], ...listed] : listed)];
}

function picker(lane, key, options) {
  const select = make("select");
  select.setAttribute("aria-label", key.name.replace(/_/g, " "));
  for (const [value, text] of options) {
    const option = make("option", "", text);
    option.value = value;
    select.append(option);
  }
  select.value = valueOf(lane, key);
  select.addEventListener("change", () => {
    set(lane, key, select.value);
    const dependent = knobsOf(lane.name).filter((other) => other.only_with?.[0] === key.name);
    if (!dependent.length && key.name !== "of") return;
    for (const other of dependent) if (idle(lane, other)) delete lane.values[other.name];
    commit();
    draw();
    root.querySelectorAll(".pg-policy")[lanes.indexOf(lane)].querySelector(`select[data-key="${key.name}"]`)?.focus();
  });
  select.dataset.key = key.name;
  return select;
}

function numbers(lane, key) {
  const number = make("input");
  number.type = "number";
  number.value = valueOf(lane, key);
  number.step = "any";
  number.placeholder = key.default === null ? "" : String(key.default); // what an empty field means
  number.setAttribute("aria-label", key.name);
  if (key.low !== null) number.min = key.low;
  if (key.high !== null) number.max = key.high;
  const typed = () => (number.validity.badInput ? GONE : number.value); // what is no number must not run as the default
  if (key.low === null || key.high === null || key.high - key.low > 20) {
    number.addEventListener("input", () => set(lane, key, typed()));
    return [number];
  }
  const slider = make("input");
  slider.type = "range";
  slider.step = key.kind === "int" ? 1 : key.high - key.low > 3 ? 0.1 : 0.01;
  slider.min = key.low_open ? Number(slider.step) : key.low;
  slider.max = key.high;
  slider.value = number.value;
  slider.setAttribute("aria-label", `${key.name} slider`);
  slider.addEventListener("input", () => {
    number.value = slider.value;
    set(lane, key, slider.value);
  });
  number.addEventListener("input", () => {
    slider.value = number.value;
    set(lane, key, typed());
  });
  return [slider, number];
}
