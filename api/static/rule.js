/**
 * The editor of a rule. What is typed is asked of the API as it stands, so the page knows no CEL:
 * a trial over no time at all says whether the rule can be asked, and where it cannot.
 */
import { alone, listOf } from "./act.js";
import { ask } from "./http.js";
import { toast } from "./page.js";
import { sure } from "./sure.js";
import { filled } from "./words.js";

const ASK_AFTER_MS = 400;
const MOST_RULES = 100;
const LISTS = ["tags", "variables", "headers"];
const NUMBERS = ["priority", "sample_percent", "beep_every_s"];
const TEXTS = ["name", "when", "action", "begins", "timezone", "announce_to"];
const OR_NULL = ["layout", "format", "announcement"];

export function mount(form) {
  new Editor(form);
}

/** Of the forms of a sentence, the one that this number takes in the page's language. */
function byNumber(forms, number) {
  return forms[new Intl.PluralRules(document.documentElement.lang).select(number)];
}

class Editor {
  #form;
  #when;
  #told;
  #words;
  #fields;
  #terms;
  #others;
  #timer = null;
  #turn = 0; // what is said now; what was asked before it is not told any more

  constructor(form) {
    const json = (name) => JSON.parse(form.querySelector(`[data-${name}]`).textContent);
    this.#form = form;
    this.#when = form.elements.when;
    this.#told = form.querySelector("[data-told]");
    this.#words = json("words");
    this.#fields = json("fields");
    this.#terms = json("terms");
    this.#others = json("others");
    form.addEventListener("submit", (event) => this.#save(event));
    form.addEventListener("input", ({ target }) => this.#typed(target));
    form.querySelector("[data-try]").addEventListener("click", () => this.#try());
    const remove = form.querySelector("[data-delete]");
    remove?.addEventListener("click", () => this.#delete(remove));
    this.#when.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** The rule as the API takes it, whole: what the form does not show stays as it is. */
  #rule() {
    const data = new FormData(this.#form);
    const rule = { ...this.#terms };
    for (const name of TEXTS) rule[name] = data.get(name);
    for (const name of OR_NULL) rule[name] = data.get(name) || null;
    for (const name of NUMBERS) rule[name] = Number(data.get(name));
    for (const name of LISTS) rule[name] = listOf(data.get(name));
    rule.retention_days = data.get("retention_days") ? Number(data.get("retention_days")) : null;
    rule.enabled = data.has("enabled");
    return rule;
  }

  #typed(target) {
    if (target === this.#when) this.#complete();
    this.#next();
    this.#timer = setTimeout(() => this.#check(), ASK_AFTER_MS);
  }

  /** What comes back of an earlier one is old. */
  #next() {
    clearTimeout(this.#timer);
    return ++this.#turn;
  }

  async #check() {
    const turn = this.#next();
    const to = new Date();
    const from = new Date(to - 1000);
    try {
      await ask("POST", "/rules/test", { rules: [{ ...this.#rule(), name: "draft" }], from, to });
      if (turn === this.#turn) this.#say(this.#words.good);
    } catch (error) {
      if (turn === this.#turn) this.#fault(error);
    }
  }

  #say(text) {
    this.#told.textContent = text;
    this.#told.className = "quiet";
    this.#when.removeAttribute("aria-invalid");
  }

  /** What is wrong, and with a mark below the place where. */
  #fault({ message, problem }) {
    const where = this.#place(problem?.position);
    this.#told.textContent = [where, message, problem?.hint].filter(Boolean).join(" ");
    this.#told.className = "note bad code";
    this.#when.setAttribute("aria-invalid", "true");
  }

  #place(position) {
    if (position === undefined || position === null) return "";
    const before = this.#when.value.slice(0, position).split("\n");
    const line = this.#when.value.split("\n")[before.length - 1] ?? "";
    return `${line}\n${" ".repeat(before.at(-1).length)}^\n`;
  }

  #save(event) {
    event.preventDefault();
    const { id, version } = this.#form.dataset;
    this.#act(async () => {
      const rule = this.#rule();
      const kept = id
        ? await ask("PUT", `/rules/${id}`, { ...rule, version: Number(version) })
        : await ask("POST", "/rules", rule);
      Object.assign(this.#form.dataset, { id: kept.id, version: kept.version });
      toast(this.#words.saved);
      await this.#show(`/rules/${kept.id}`);
    });
  }

  async #delete(button) {
    if (!(await sure(this.#words.delete, button))) return;
    this.#act(async () => {
      await ask("DELETE", `/rules/${this.#form.dataset.id}`);
      await this.#show("/rules");
    });
  }

  #try() {
    const shown = this.#form.querySelector("[data-trial]");
    shown.textContent = "…";
    shown.className = "";
    this.#act(async () => {
      const rules = [{ ...this.#rule(), name: "draft" }, ...this.#others].slice(0, MOST_RULES);
      const trial = await ask("POST", "/rules/test", { rules, default: this.#form.dataset.default });
      shown.textContent = this.#sentence(trial);
      shown.className = "note";
    }).finally(() => {
      if (!shown.className) shown.textContent = "";
    });
  }

  #act(act) {
    this.#next();
    return alone(this.#form, act).catch((error) => this.#fault(error));
  }

  /** Another page; a load of its own would end the listening. */
  #show(path) {
    const swap = "outerHTML show:window:top";
    const asked = htmx.ajax("GET", path, { target: "#page", select: "#page", swap, push: path });
    return asked.catch(() => null); // the page tells what fails
  }

  /** What the rules would have done. */
  #sentence(trial) {
    const { tried, changed, part, month } = this.#words;
    const more = trial.complete ? [] : [part];
    const known = {
      ...trial,
      hours: (trial.audio_s_per_month / 3600).toFixed(1),
      megabytes: Math.round(trial.bytes_per_month / 1e6),
    };
    const told = [byNumber(tried, trial.calls), ...more, byNumber(changed, trial.changed), month];
    return filled(told.join(" "), known);
  }

  // Completion

  #word() {
    return this.#when.value.slice(0, this.#when.selectionStart).match(/[a-z_]+$/)?.[0] ?? "";
  }

  #complete() {
    const word = this.#word();
    const list = this.#form.querySelector("[data-completions]");
    const found = word ? this.#fields.filter((one) => one.startsWith(word) && one !== word) : [];
    list.hidden = found.length === 0;
    list.replaceChildren(
      ...found.map((name) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = name;
        button.onclick = () => this.#take(name);
        const item = document.createElement("li");
        item.append(button);
        return item;
      }),
    );
  }

  #take(name) {
    const { selectionStart: at } = this.#when;
    this.#when.setRangeText(name, at - this.#word().length, at, "end");
    this.#when.focus();
    this.#typed(this.#when);
  }

  /** Control and space take the first completion. */
  #pressed(event) {
    const first = this.#form.querySelector("[data-completions] button");
    if (!(event.ctrlKey && event.key === " ") || !first) return;
    event.preventDefault();
    this.#take(first.textContent);
  }
}
