/* The grammar of a spec, name:key=value,key=value, and what a lane means by it. Stands before policies.js in one scope and
   reads its `lanes` and `kinds`; the server parses every spec again and is the judge.

   A lane is {name, values, follows, draft, refused}. `of` is kept as `follows`, the lane that is meant, and only written as its
   number: lanes may come and go. `draft` is what stands in the spec line while it is no spec; it is what runs then, and
   `refused` is why not. */
const GONE = "?"; // the number of a lane that was removed

const knobsOf = (name) => kinds.get(name)?.knobs || [];
const filtersOf = (name) => fixed.filters.filter((key) => kinds.get(name)?.filters.includes(key.name));
const keysOf = (name) => [...knobsOf(name), ...filtersOf(name)];
const same = (key, value) => (key.kind === "float" || key.kind === "int" ? Number(value) === Number(key.default) : String(value) === String(key.default));
const follower = (name) => knobsOf(name).some((key) => key.name === "of");
const titleOf = (lane) => (lane.draft !== null ? lane.draft : kinds.get(lane.name)?.title || lane.name);

function read(spec) {
  const [name, rest = ""] = [spec.split(":")[0].trim(), spec.includes(":") ? spec.slice(spec.indexOf(":") + 1) : ""];
  const values = {};
  for (const pair of rest.split(",").filter((part) => part.trim())) {
    const at = pair.indexOf("=");
    values[pair.slice(0, at < 0 ? undefined : at).trim()] = at < 0 ? "" : pair.slice(at + 1).trim();
  }
  return { name, values, follows: null, draft: kinds.has(name) ? null : spec, refused: "" };
}

/* The lane that a number meant when `among` were the lanes; a number that is no lane's stays a number. */
function resolve(lane, among) {
  const meant = follower(lane.name) && among[Number(lane.values.of) - 1];
  if (!meant) return;
  lane.follows = meant;
  delete lane.values.of;
}

function write(lane) {
  if (lane.draft !== null) return lane.draft;
  const known = keysOf(lane.name);
  const values = { ...lane.values };
  if (lane.follows) values.of = String(lanes.indexOf(lane.follows) + 1 || GONE);
  const kept = Object.keys(values).filter((key) => {
    const own = known.find((candidate) => candidate.name === key);
    return !own || own.default === null || !same(own, values[key]);
  });
  return lane.name + (kept.length ? ":" + kept.sort().map((key) => `${key}=${values[key]}`).join(",") : "");
}

function valueOf(lane, key) {
  if (key.name === "of" && lane.follows) return String(lanes.indexOf(lane.follows) + 1 || GONE);
  return lane.values[key.name] ?? (key.default === null ? "" : String(key.default));
}

/* A knob that means nothing at the present value of another one. */
function idle(lane, key) {
  if (!key.only_with) return false;
  const [name, wanted] = key.only_with;
  const other = knobsOf(lane.name).find((candidate) => candidate.name === name);
  return valueOf(lane, other) !== String(wanted);
}

/* What a knob may not be, in a sentence; "" where it may. */
function refusal(lane, key) {
  const value = valueOf(lane, key);
  if (key.name === "of" && value !== "0") return unfollowed(lane, value);
  if (key.kind !== "float" && key.kind !== "int") return "";
  const number = value.trim() === "" ? NaN : Number(value);
  const above = key.low === null || (key.low_open ? number > key.low : number >= key.low);
  const fits = Number.isFinite(number) && above && (key.high === null || number <= key.high);
  return fits && (key.kind === "float" || Number.isInteger(number)) ? "" : `Must be ${key.allowed}.`;
}

function unfollowed(lane, value) {
  const other = lanes[Number(value) - 1];
  if (value === GONE) return "The lane that it followed was removed; choose another one.";
  if (!other) return `There is no lane ${value}; choose another one.`;
  if (other === lane) return "A lane cannot follow itself; choose another one.";
  const chained = other.draft === null && follower(other.name) && knobsOf(other.name).some((key) => key.name === "of" && valueOf(other, key) !== "0");
  return chained ? `Lane ${value} follows a lane itself; choose one that decides by itself.` : "";
}
