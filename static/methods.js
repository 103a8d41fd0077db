/* What every policy does, group by group, from the constant `fixed`; the same text as the README's table. */
const root = element.querySelector(".pg-methods");

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function fact(list, name, ...values) {
  const dd = make("dd");
  dd.append(...values);
  list.append(make("dt", "", name), dd);
}

const code = (text) => make("code", "", text);

function policy(kind) {
  const card = make("article", "pg-method");
  card.dataset.policy = kind.name;
  const header = make("header");
  header.append(make("h4", "", kind.title), code(kind.name));
  if (!kind.streams) header.append(make("small", "pg-tag", "command line only"));
  if (kind.missing) header.append(make("small", "pg-tag", kind.missing));
  card.append(header, make("p", "pg-summary", kind.summary), make("code", "pg-formula", kind.formula), facts(kind));
  if (kind.keys.length) card.append(knobs(kind));
  return card;
}

function facts(kind) {
  const list = make("dl", "pg-about");
  fact(list, "Source", kind.source);
  fact(list, "Departure", kind.departure || "none");
  if (kind.stands_for) fact(list, "Short for", code(kind.stands_for));
  for (const channel of kind.channels) fact(list, channel.title, channel.unit ? `${channel.help} (${channel.unit})` : channel.help);
  if (kind.order.join() !== "temperature") fact(list, "Order", `${kind.order.join(" → ")} → filters`);
  fact(list, "File", code(kind.file));
  return list;
}

function knobs(kind) {
  const details = make("details", "pg-table");
  details.append(make("summary", "", `Knobs: ${kind.keys.map((key) => key.name).join(", ")}`));
  details.append(tableOf("knob", kind.keys));
  return details;
}

function tableOf(name, keys) {
  const table = make("table", "pg-keys");
  const head = make("tr");
  for (const title of [name, "default", "allowed", "what it does"]) head.append(make("th", "", title));
  table.append(head);
  for (const key of keys) {
    const row = make("tr");
    row.append(make("td", "", key.name), make("td", "", String(key.default)));
    row.append(make("td", "", key.allowed), make("td", "", key.help));
    table.append(row);
  }
  const scroll = make("div", "pg-scroll");
  scroll.setAttribute("aria-label", `A table: ${name}, default, allowed, what it does`);
  scroll.append(table);
  return scroll;
}

root.append(make("h3", "", "Words"), glossary(fixed.words));
for (const text of fixed.lead) root.append(make("p", "pg-lead", text));
for (const group of fixed.groups) {
  root.append(make("h3", "", group.name));
  const grid = make("div", "pg-methodgrid");
  grid.append(...group.kinds.map(policy));
  root.append(grid);
}
root.append(make("h3", "", "Filters, for any policy"), tableOf("filter", fixed.filters));
