/* A server that does not answer: a quiet line says so, what was typed stays, and the page goes on when it is back.

   Gradio runs no event after a connection broke; it shows a toast, asks for the server's id every two seconds and then loads
   the page anew, over whatever was typed. Here it never gets that id: the page is loaded anew once what was typed is stored
   where kept.js reads it, and nobody is typing. `fixed.forms` are the ids of the fields of each form. */
const root = element.querySelector(".pg-connection");
const AGAIN = 2000; // milliseconds between two looks while the server is gone
const SAID = 8000;
const AWAY = "adaptive-decoding-away";
const line = document.createElement("p");
line.setAttribute("role", "status");
line.hidden = true;
root.append(line);

const ask = window.fetch.bind(window);
let lost = false;
let looking = false;

function say(sentence) {
  line.textContent = sentence;
  line.hidden = sentence === "";
}

async function answers() {
  try {
    return (await ask("./robots.txt", { cache: "no-store" })).status < 500;
  } catch {
    return false;
  }
}

/* Gradio runs no event any more once a connection broke, so what was typed since is read from the fields themselves. */
function keep() {
  const stored = JSON.parse(sessionStorage.getItem(fixed.key) || "{}");
  for (const [form, ids] of Object.entries(fixed.forms)) {
    const before = stored[form] || ids.map((id) => window.gradio_config.components.find((c) => c.props.elem_id === id)?.props.value ?? null);
    stored[form] = ids.map((id, i) => {
      const own = document.querySelector(`#${id} .pg-policies`)?.specs;
      const field = document.querySelector(`#${id} textarea, #${id} input[type="number"], #${id} input[type="text"]`);
      if (own || !field) return own || before[i];
      return field.type === "number" ? (field.value === "" ? null : Number(field.value)) : field.value;
    });
  }
  sessionStorage.setItem(fixed.key, JSON.stringify(stored));
  sessionStorage.setItem(AWAY, "1");
}

/* Nobody is typing: a page that loads anew would swallow the next keys. */
let typed = -Infinity;
document.addEventListener("input", () => (typed = performance.now()), true);
async function quiet() {
  while (performance.now() - typed < AGAIN) await new Promise((resolve) => setTimeout(resolve, AGAIN / 4));
}

async function look() {
  if (looking) return;
  looking = true;
  do {
    if (!(await answers()) && !lost) {
      lost = true;
      say("The server does not answer. What you typed is kept, and the page goes on by itself when it is back.");
      window.dispatchEvent(new Event("pg-lost"));
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN / 2));
  } while (!(await answers()));
  await quiet();
  try {
    keep();
  } finally {
    window.location.reload();
  }
}

window.fetch = (resource, options) => {
  if (!String(resource?.url || resource).split("?")[0].endsWith("/gradio_api/app_id")) return ask(resource, options);
  look();
  return Promise.reject(new TypeError("The page looks for the server by itself."));
};

/* Gradio's toasts of a lost connection stay until they are closed. */
new MutationObserver(() => {
  for (const toast of document.querySelectorAll(".toast-body.error")) {
    if (lost || toast.textContent.includes("Connection to the server was lost")) toast.querySelector(".toast-close")?.click();
  }
}).observe(document.body, { childList: true, subtree: true });

try {
  if (sessionStorage.getItem(AWAY)) say("The server was away and is back; what you typed is kept.");
  sessionStorage.removeItem(AWAY);
  setTimeout(() => lost || say(""), SAID);
} catch {
  // no storage here: nothing was kept
}
