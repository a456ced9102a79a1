/**
 * The editor of a rule. What is typed is asked of the API as it stands, so the page knows no CEL:
 * a trial over no time at all says whether the rule can be asked, and where it cannot.
 */
import { ask } from "./http.js";
import { toast } from "./page.js";
import { sure } from "./sure.js";

const ASK_AFTER_MS = 400;
const MOST_RULES = 100;
const LISTS = ["tags", "variables", "headers"];
const NUMBERS = ["priority", "sample_percent", "beep_every_s"];

export function mount(form) {
  new Editor(form);
}

class Editor {
  #form;
  #when;
  #told;
  #words;
  #fields;
  #timer = null;

  constructor(form) {
    const json = (name) => JSON.parse(form.querySelector(`[data-${name}]`).textContent);
    this.#form = form;
    this.#when = form.elements.when;
    this.#told = form.querySelector("[data-told]");
    this.#words = json("words");
    this.#fields = json("fields");
    this.others = json("others");
    form.addEventListener("submit", (event) => this.#save(event));
    form.addEventListener("input", ({ target }) => this.#typed(target));
    form.querySelector("[data-try]").addEventListener("click", () => this.#try());
    const remove = form.querySelector("[data-delete]");
    remove?.addEventListener("click", () => this.#delete(remove));
    this.#when.addEventListener("keydown", (event) => this.#pressed(event));
  }

  /** The rule as the API takes it. */
  #rule() {
    const data = new FormData(this.#form);
    const rule = Object.fromEntries(
      ["name", "when", "action", "begins", "timezone"].map((name) => [name, data.get(name)]),
    );
    for (const name of NUMBERS) rule[name] = Number(data.get(name));
    for (const name of LISTS) {
      rule[name] = data.get(name).split(",").map((one) => one.trim()).filter(Boolean);
    }
    rule.retention_days = data.get("retention_days") ? Number(data.get("retention_days")) : null;
    rule.announcement = data.get("announcement") || null;
    rule.enabled = data.has("enabled");
    return rule;
  }

  #typed(target) {
    if (target === this.#when) this.#complete();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#check(), ASK_AFTER_MS);
  }

  async #check() {
    const to = new Date();
    const from = new Date(to - 1000);
    try {
      await ask("POST", "/rules/test", { rules: [{ ...this.#rule(), name: "draft" }], from, to });
      this.#say(this.#words.good);
    } catch (error) {
      this.#fault(error);
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

  async #save(event) {
    event.preventDefault();
    const { id, version } = this.#form.dataset;
    try {
      const rule = this.#rule();
      const kept = id
        ? await ask("PUT", `/rules/${id}`, { ...rule, version: Number(version) })
        : await ask("POST", "/rules", rule);
      toast(this.#words.saved);
      const path = `/rules/${kept.id}`;
      htmx.ajax("GET", path, { target: "#page", select: "#page", swap: "outerHTML", push: path });
    } catch (error) {
      this.#fault(error);
    }
  }

  async #delete(button) {
    if (!(await sure(this.#words.delete, button))) return;
    try {
      await ask("DELETE", `/rules/${this.#form.dataset.id}`);
      location.assign("/rules");
    } catch (error) {
      this.#fault(error);
    }
  }

  async #try() {
    const shown = this.#form.querySelector("[data-trial]");
    shown.textContent = "…";
    try {
      const rules = [{ ...this.#rule(), name: "draft" }, ...this.others].slice(0, MOST_RULES);
      const trial = await ask("POST", "/rules/test", { rules, default: this.#form.dataset.default });
      const told = this.#words.tried.replace(/{(\w+)}/g, (_, name) => trial[name]);
      const month = {
        hours: (trial.audio_s_per_month / 3600).toFixed(1),
        megabytes: Math.round(trial.bytes_per_month / 1e6),
      };
      const more = this.#words.month.replace(/{(\w+)}/g, (_, name) => month[name]);
      shown.className = "note";
      shown.textContent = `${told} ${more}`;
    } catch (error) {
      shown.textContent = "";
      shown.className = "";
      this.#fault(error);
    }
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
