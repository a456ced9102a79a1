/** The base of every page: start its modules, show messages, and handle swaps by htmx. */
import { allElements, getElement } from "./dom.js";
import { localise } from "./times.js";

/** @type {WeakMap<HTMLElement, Promise<void>>} elements with a module, from when it starts */
const started = new WeakMap();
/** @type {WeakSet<HTMLElement>} elements with a running module */
const ready = new WeakSet();

/** @param {Document | HTMLElement} root */
function start(root) {
  localise(root);
  const elements = allElements(root, "[data-module]");
  if (root instanceof HTMLElement && root.matches("[data-module]")) elements.push(root);
  elements.forEach(startOnce);
}

/** @param {HTMLElement} element */
function startOnce(element) {
  const running = started.get(element) ?? mount(element);
  started.set(element, running);
  return running;
}

/**
 * Load the module of an element, then enable the controls that wait for it.
 *
 * @param {HTMLElement} element
 */
async function mount(element) {
  const name = element.dataset.module;
  try {
    const module = await import(`./${name}.js`);
    module.mount(element);
  } catch (error) {
    showFailure();
    throw error;
  }
  for (const control of element.querySelectorAll(`[data-waits-for=${name}]`)) {
    control.removeAttribute("disabled");
  }
  ready.add(element);
}

/**
 * Show a message. A bad one stays until the person closes it.
 *
 * @param {string | undefined} text
 * @param {{ bad?: boolean }} [options]
 */
export function toast(text, { bad = false } = {}) {
  const note = document.createElement("div");
  note.className = bad ? "note bad row" : "note";
  note.setAttribute("role", bad ? "alert" : "status");
  note.textContent = text ?? "";
  if (bad) {
    const close = document.createElement("button");
    close.className = "plain";
    close.textContent = document.body.dataset.close ?? "";
    close.onclick = () => note.remove();
    note.append(close);
  } else {
    setTimeout(() => note.remove(), 5000);
  }
  getElement(document, ".toasts").append(note);
}

/**
 * Show an error in its part of the page if the part has room for it, else as a message.
 *
 * @param {HTMLElement} part
 * @param {string | undefined} text "" removes the error
 */
export function showFault(part, text) {
  const place = part.querySelector("[data-fault]");
  if (place) Object.assign(place, { textContent: text, hidden: !text });
  else if (text) toast(text, { bad: true });
}

/**
 * Act once when an element has left the page. Abort the signal to cancel.
 *
 * @param {Element} element
 * @param {() => void} act
 * @param {{ signal?: AbortSignal }} [options]
 */
export function whenGone(element, act, { signal } = {}) {
  const look = () => {
    if (element.isConnected) return; // the swap failed, or it replaced another part
    document.removeEventListener("htmx:afterSwap", look);
    act();
  };
  document.addEventListener("htmx:afterSwap", look, { signal });
}

/**
 * Listen to an event of htmx.
 *
 * @param {string} name
 * @param {(detail: any) => void} act
 */
function onHtmx(name, act) {
  document.addEventListener(`htmx:${name}`, (event) => act(/** @type {CustomEvent} */ (event).detail));
}

onHtmx("load", ({ elt }) => start(elt));

/** Mark the present page in the menu, and move the focus to it: for a screen reader it is new. */
function arrive() {
  document.querySelector(".top .menu[open]")?.removeAttribute("open");
  for (const link of document.querySelectorAll(".top nav a")) {
    link.removeAttribute("aria-current");
    if (link.getAttribute("href") === location.pathname) link.setAttribute("aria-current", "page");
  }
  getElement(document, "#page").focus({ preventScroll: true });
}

/** Reload if an earlier page cannot be read, which shows why; but not while the person listens. */
function stay() {
  const bar = document.getElementById("bar");
  if (!bar || bar.hidden) location.reload();
  else showFailure();
}

onHtmx("afterSettle", ({ target }) => {
  if (target?.id === "page") arrive();
});

// Back and forward: the last request counts, in whichever order the answers come.
/** @type {XMLHttpRequest | null} */
let goingBack = null;
onHtmx("historyCacheMiss", ({ xhr }) => {
  goingBack?.abort();
  goingBack = xhr;
  xhr.addEventListener("error", stay);
});
onHtmx("historyCacheMissLoadError", stay);
onHtmx("historyRestore", arrive);

/**
 * Return the elements with a module around a form, the form itself included.
 *
 * @param {HTMLElement} form
 */
function modulesAround(form) {
  const found = [];
  /** @type {HTMLElement | null | undefined} */
  let element = form;
  while (element) {
    found.push(element);
    element = element.parentElement?.closest("[data-module]");
  }
  return found;
}

// The browser would send a form before its module has started, and put its fields into the address.
document.addEventListener(
  "submit",
  async (event) => {
    const form = /** @type {HTMLFormElement} */ (event.target);
    const elements = modulesAround(form);
    if (form.dataset.module !== "act" || elements.every((element) => ready.has(element))) return;
    event.preventDefault();
    await Promise.all(elements.map(startOnce));
    form.requestSubmit(event.submitter);
  },
  { capture: true },
);

// Show an error page of the service as a page, but not one of a proxy.
onHtmx("beforeSwap", (detail) => {
  const isOurs = detail.serverResponse.includes('<main id="page"');
  if (detail.target?.id !== "page" || !detail.isError || !isOurs) return;
  detail.shouldSwap = true;
  detail.isError = false;
});
onHtmx("responseError", showFailure);
onHtmx("sendError", showFailure);

/** Say once that the service did not answer, however many requests fail. */
function showFailure() {
  const text = document.body.dataset.failed ?? "";
  const shown = [...document.querySelectorAll(".toasts .bad")];
  if (!shown.some((note) => note.textContent?.startsWith(text))) toast(text, { bad: true });
}

start(document);
