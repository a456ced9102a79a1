/** What every page does: modules begin where the page asks for them, also after it was swapped. */
import { localise } from "./times.js";

const begun = new WeakMap(); // what has a module, and when that is there
const ready = new WeakSet();

function begin(root) {
  localise(root);
  const wanted = [...root.querySelectorAll("[data-module]")];
  if (root.matches?.("[data-module]")) wanted.push(root);
  wanted.forEach(beginOnce);
}

function beginOnce(element) {
  if (!begun.has(element)) begun.set(element, mount(element));
  return begun.get(element);
}

/** What would do nothing without its module is disabled in the page, and waits for it by its name. */
async function mount(element) {
  const name = element.dataset.module;
  try {
    const module = await import(`./${name}.js`);
    module.mount(element);
  } catch (error) {
    failed();
    throw error;
  }
  for (const control of element.querySelectorAll(`[data-waits-for=${name}]`)) control.disabled = false;
  ready.add(element);
}

/** Tell something that needs no answer; what is wrong stays until it is closed. */
export function toast(text, { bad = false } = {}) {
  const note = document.createElement("div");
  note.className = bad ? "note bad row" : "note";
  note.setAttribute("role", bad ? "alert" : "status");
  note.textContent = text;
  if (bad) {
    const close = document.createElement("button");
    close.className = "plain";
    close.textContent = document.body.dataset.close;
    close.onclick = () => note.remove();
    note.append(close);
  } else {
    setTimeout(() => note.remove(), 5000);
  }
  document.querySelector(".toasts").append(note);
}

/** What is wrong, where a part of the page has a place for it; "" takes away what stood there. */
export function tellFault(part, text) {
  const place = part.querySelector("[data-fault]");
  if (place) Object.assign(place, { textContent: text, hidden: !text });
  else if (text) toast(text, { bad: true });
}

/**
 * Do this once the element is no part of the page any more; a swap may fail, or be of another part.
 * A `signal` that is aborted takes it back.
 */
export function whenGone(element, act, { signal } = {}) {
  const look = () => {
    if (element.isConnected) return;
    document.removeEventListener("htmx:afterSwap", look);
    act();
  };
  document.addEventListener("htmx:afterSwap", look, { signal });
}

document.addEventListener("htmx:load", ({ detail }) => begin(detail.elt));

/** A page that was swapped in is a new page to who hears it: begin at its heading. */
function arrive() {
  for (const link of document.querySelectorAll(".top nav a")) {
    const here = link.getAttribute("href") === location.pathname;
    link.toggleAttribute("aria-current", false);
    if (here) link.setAttribute("aria-current", "page");
  }
  document.getElementById("page").focus({ preventScroll: true });
}

/** The page before cannot be had: loading it whole says why, but would end what one listens to. */
function stay() {
  const bar = document.getElementById("bar");
  if (!bar || bar.hidden) location.reload();
  else failed();
}

document.addEventListener("htmx:afterSettle", ({ detail }) => {
  if (detail.target?.id === "page") arrive();
});

// Back and forward
let goesBack = null;
document.addEventListener("htmx:historyCacheMiss", ({ detail }) => {
  goesBack?.abort(); // the last one counts, whichever is answered first
  goesBack = detail.xhr;
  goesBack.addEventListener("error", stay);
});
document.addEventListener("htmx:historyCacheMissLoadError", stay);
document.addEventListener("htmx:historyRestore", arrive);

/** The parts with a module that a form is in, itself among them. */
function* moduledAround(form) {
  for (let one = form; one; one = one.parentElement.closest("[data-module]")) yield one;
}

// The browser itself would send a form whose module is still to come: what is in it into the address.
document.addEventListener(
  "submit",
  async (event) => {
    const { target: form, submitter } = event;
    const parts = [...moduledAround(form)];
    if (form.dataset.module !== "act" || parts.every((one) => ready.has(one))) return;
    event.preventDefault();
    await Promise.all(parts.map(beginOnce));
    form.requestSubmit(submitter);
  },
  { capture: true },
);
// A page that says why there is nothing else is a page too.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const isOurs = detail.serverResponse.includes('<main id="page"'); // and not of a proxy
  if (detail.target?.id !== "page" || !detail.isError || !isOurs) return;
  detail.shouldSwap = true;
  detail.isError = false;
});
document.addEventListener("htmx:responseError", failed);
document.addEventListener("htmx:sendError", failed);

/** Said once, however often it is tried in vain. */
function failed() {
  const text = document.body.dataset.failed;
  const told = [...document.querySelectorAll(".toasts .bad")];
  if (!told.some((note) => note.textContent.startsWith(text))) toast(text, { bad: true });
}
begin(document);
