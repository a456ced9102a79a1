/**
 * The editor of a rule.
 *
 * The page knows no CEL. It tries the draft on a time without calls, and the service answers whether the
 * rule is valid, or where its fault is.
 */
import { lock } from "./act.js";
import { confirmed } from "./confirm.js";
import { findElement, getElement, getField, readJson } from "./dom.js";
import { Refusal, callApi } from "./http.js";
import { toast } from "./page.js";
import {
  completionsOf,
  describeProgress,
  describeTrial,
  markPosition,
  ruleOf,
  wordBefore,
} from "./rule-model.js";

const CHECK_AFTER_MS = 400;
const LOOK_EVERY_MS = 1000;
const MOST_RULES = 100;

/** @param {HTMLFormElement} form */
export function mount(form) {
  new Editor(form);
}

class Editor {
  #form;
  #when;
  #message;
  #words;
  #terms;
  #others;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #turn = 0; // counts the requests; only the answer to the last one is shown

  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.#form = form;
    this.#when = getField(form, "when", HTMLTextAreaElement);
    this.#message = getElement(form, "[data-told]");
    this.#words = readJson(form, "[data-words]");
    this.#terms = readJson(form, "[data-terms]");
    this.#others = readJson(form, "[data-others]");
    const list = getElement(form, "[data-completions]");
    new Completions(this.#when, list, readJson(form, "[data-fields]"));
    form.addEventListener("submit", (event) => this.#save(event));
    form.addEventListener("input", () => {
      this.#next();
      this.#timer = setTimeout(() => this.#check(), CHECK_AFTER_MS);
    });
    getElement(form, "[data-try]").addEventListener("click", () => this.#try());
    const remove = findElement(form, "[data-delete]");
    remove?.addEventListener("click", () => this.#delete(remove));
  }

  #rule() {
    return ruleOf(new FormData(this.#form), this.#terms);
  }

  /** Return the number of a new request; answers to earlier requests are ignored from now on. */
  #next() {
    clearTimeout(this.#timer);
    this.#turn += 1;
    return this.#turn;
  }

  async #check() {
    const turn = this.#next();
    const to = new Date();
    const from = new Date(to.getTime() - 1000);
    try {
      const rules = [{ ...this.#rule(), name: "draft" }];
      await callApi("POST", "/rules/test", { rules, from, to });
      if (turn === this.#turn) this.#showValid();
    } catch (error) {
      if (turn === this.#turn) this.#showFault(/** @type {Error} */ (error));
    }
  }

  #showValid() {
    this.#message.textContent = this.#words.good;
    this.#message.className = "quiet";
    this.#when.removeAttribute("aria-invalid");
  }

  /**
   * Show a fault, with a mark below its position in the expression.
   *
   * @param {Error} error
   */
  #showFault(error) {
    const problem = error instanceof Refusal ? error.problem : null;
    const mark = markPosition(this.#when.value, problem?.position);
    this.#message.textContent = [mark, error.message, problem?.hint].filter(Boolean).join(" ");
    this.#message.className = "note bad code";
    this.#when.setAttribute("aria-invalid", "true");
  }

  /** @param {Event} event */
  #save(event) {
    event.preventDefault();
    const { id, version } = this.#form.dataset;
    this.#act(async () => {
      const rule = this.#rule();
      const saved = id
        ? await callApi("PUT", `/rules/${id}`, { ...rule, version: Number(version) })
        : await callApi("POST", "/rules", rule);
      Object.assign(this.#form.dataset, { id: saved.id, version: saved.version });
      toast(this.#words.saved);
      await showPage(`/rules/${saved.id}`);
    });
  }

  /** @param {HTMLElement} button */
  async #delete(button) {
    if (!(await confirmed(this.#words.delete, button))) return;
    this.#act(async () => {
      await callApi("DELETE", `/rules/${this.#form.dataset.id}`);
      await showPage("/rules");
    });
  }

  async #try() {
    const result = getElement(this.#form, "[data-trial]");
    result.textContent = "…";
    result.className = "";
    await this.#act(async () => {
      const rules = [{ ...this.#rule(), name: "draft" }, ...this.#others].slice(0, MOST_RULES);
      const body = { rules, default: this.#form.dataset.default };
      const trial = await this.#finish(await callApi("POST", "/rules/test", body), result);
      result.textContent = describeTrial(trial, this.#words, document.documentElement.lang);
      result.className = "note";
    });
    if (!result.className) result.textContent = "";
  }

  /**
   * Return the result of a trial; show the progress of one that goes on in the background.
   *
   * @param {import("./rule-model.js").Trial | import("./rule-model.js").RunningTrial} answer
   * @param {HTMLElement} shown
   */
  async #finish(answer, shown) {
    while ("state" in answer && !answer.result && this.#form.isConnected) {
      if (answer.state === "failed") throw new Error(this.#words.failed);
      shown.textContent = describeProgress(answer, this.#words);
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
      answer = await callApi("GET", `/rules/trials/${answer.id}`);
    }
    return /** @type {import("./rule-model.js").Trial} */ ("state" in answer ? answer.result : answer);
  }

  /** @param {() => Promise<void>} act */
  #act(act) {
    this.#next();
    return lock(this.#form, act).catch((error) => this.#showFault(error));
  }
}

/** The names of fields that complete the word at the cursor. */
class Completions {
  #field;
  #list;
  #names;

  /**
   * @param {HTMLTextAreaElement} field
   * @param {HTMLElement} list
   * @param {string[]} names
   */
  constructor(field, list, names) {
    this.#field = field;
    this.#list = list;
    this.#names = names;
    field.addEventListener("input", () => this.#show());
    field.addEventListener("keydown", (event) => this.#pressed(event));
  }

  #word() {
    return wordBefore(this.#field.value, this.#field.selectionStart);
  }

  #show() {
    const names = completionsOf(this.#word(), this.#names);
    this.#list.hidden = names.length === 0;
    this.#list.replaceChildren(
      ...names.map((name) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = name;
        button.onclick = () => this.#insert(name);
        const item = document.createElement("li");
        item.append(button);
        return item;
      }),
    );
  }

  /** @param {string} name */
  #insert(name) {
    const { selectionStart: at } = this.#field;
    this.#field.setRangeText(name, at - this.#word().length, at, "end");
    this.#field.focus();
    this.#field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const first = findElement(this.#list, "button");
    if (!(event.ctrlKey && event.key === " ") || !first) return;
    event.preventDefault();
    this.#insert(first.textContent ?? "");
  }
}

/**
 * Show another page. Loading it whole would end the sound.
 *
 * @param {string} path
 */
async function showPage(path) {
  const swap = "outerHTML show:window:top";
  const done = htmx.ajax("GET", path, { target: "#page", select: "#page", swap, push: path });
  await done.catch(() => null); // the page shows the error
}
