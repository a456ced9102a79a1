/**
 * The calls as they are.
 *
 * The stream is opened before the list is asked for: what happens meanwhile is taken after it, and
 * as each event holds the whole row, to take one twice does no harm. However many events come, the
 * page is written twice a second, and clocks run where one sees them.
 */
import { ask, askAll } from "./http.js";
import { duration } from "./times.js";
import { toast, whenGone } from "./page.js";
import { listen, heard } from "./listening.js";

const ENDED_STAYS_MS = 2000;
const COMES_BACK_AFTER_MS = 5000;
const WRITTEN_EVERY_MS = 500;
const TOLD = {
  call: ["ringing", "up", "changed", "ended"],
  recording: ["requested", "recording", "paused", "captured", "aborted", "discarded", "failed"],
  spy: ["requested", "ringing", "live", "switched", "moved", "ended"],
};
const RUNS = new Set(["requested", "recording", "paused"]);

class Wall {
  #calls = new Map();
  #recordings = new Map(); // those that run
  #spies = new Map(); // those that have not ended
  #sought = {};
  #rows = new Map();
  #dirty = new Set();
  #backlog = [];
  #writing = null;
  #visible = new Set();
  #observer = new IntersectionObserver((seen) => this.#sees(seen));
  #stream = null;
  #timer = null;
  #retry = null;
  #root;
  #words;
  #body;

  constructor(root) {
    this.#root = root;
    this.#words = JSON.parse(root.querySelector("[data-words]").textContent);
    this.#body = root.querySelector("tbody");
    this.teams = JSON.parse(root.querySelector("[data-teams]").textContent);
  }

  begin() {
    this.#root.querySelector("form").addEventListener("input", () => this.#filter());
    this.#body.addEventListener("click", (event) => this.#clicked(event));
    this.#timer = setInterval(() => this.#tick(), 1000);
    document.addEventListener("visibilitychange", this.#shown);
    this.#seek();
    if (!document.hidden) this.#open();
  }

  /** A browser has six connections to one host: a tab that nobody sees takes none. */
  #shown = () => {
    this.#stream?.close();
    clearTimeout(this.#retry);
    if (!document.hidden) this.#open();
  };

  #open() {
    this.#backlog = [];
    this.#stream = new EventSource("/api/v1/events");
    this.#stream.addEventListener("open", () => this.#list(), { once: true });
    for (const [kind, types] of Object.entries(TOLD)) {
      for (const type of types) {
        this.#stream.addEventListener(`${kind}.${type}`, (event) => this.#take(event));
      }
    }
    this.#stream.addEventListener("events.lost", () => this.#list());
    this.#stream.onopen = () => this.#say(true);
    this.#stream.onerror = () => this.#broken();
  }

  /** The browser comes back by itself, but not after an answer that is no stream. */
  #broken() {
    this.#say(false);
    if (this.#stream.readyState !== EventSource.CLOSED) return;
    this.#retry = setTimeout(async () => {
      await ask("GET", "/calls?limit=1").catch(() => null); // leads to the form where that is why
      this.#open();
    }, COMES_BACK_AFTER_MS);
  }

  close() {
    document.removeEventListener("visibilitychange", this.#shown);
    this.#stream?.close();
    clearTimeout(this.#retry);
    clearInterval(this.#timer);
    clearTimeout(this.#writing);
    this.#observer.disconnect();
  }

  /** All that lives. What came before the list is older than it, what comes after is newer. */
  async #list() {
    this.#backlog = [];
    try {
      const states = [...RUNS].map((state) => askAll(`/recordings?state=${state}`));
      const [calls, spies, ...recordings] = await Promise.all([
        askAll("/calls"),
        this.#root.dataset.spies ? askAll("/spies") : [],
        ...states,
      ]);
      this.#calls = new Map(calls.map((call) => [call.id, call]));
      this.#recordings = new Map(recordings.flat().map((one) => [one.id, one]));
      this.#spies = new Map(spies.map((spy) => [spy.id, spy]));
      for (const id of [...this.#rows.keys(), ...this.#calls.keys()]) this.#dirty.add(id);
      const missed = this.#backlog;
      this.#backlog = null;
      missed.forEach((told) => this.#apply(told));
      this.#draw();
    } catch (error) {
      toast(error.message, { bad: true });
    } finally {
      this.#backlog = null;
      this.#root.querySelector("[data-loading]").hidden = true;
    }
  }

  #take(event) {
    const told = JSON.parse(event.data);
    if (this.#backlog) this.#backlog.push(told);
    else this.#apply(told);
  }

  #apply({ type, data }) {
    const kind = type.split(".", 1)[0];
    if (kind === "call") {
      this.#calls.set(data.id, data);
      if (data.state === "ended") setTimeout(() => this.#forget(data.id), ENDED_STAYS_MS);
      this.#changed(data.id);
    } else {
      const known = kind === "recording" ? this.#recordings : this.#spies;
      const before = known.get(data.id);
      const runs = kind === "recording" ? RUNS.has(data.state) : data.state !== "ended";
      if (runs) known.set(data.id, { ...before, ...data });
      else known.delete(data.id);
      this.#changed(data.call_id);
      if (before && before.call_id !== data.call_id) this.#changed(before.call_id);
    }
  }

  #forget(callId) {
    this.#calls.delete(callId);
    for (const known of [this.#recordings, this.#spies]) {
      for (const [id, one] of known) if (one.call_id === callId) known.delete(id);
    }
    this.#changed(callId);
  }

  #changed(callId) {
    this.#dirty.add(callId);
    this.#writing ??= setTimeout(() => this.#draw(), WRITTEN_EVERY_MS);
  }

  #draw() {
    clearTimeout(this.#writing);
    this.#writing = null;
    for (const id of this.#dirty) {
      const call = this.#calls.get(id);
      let row = this.#rows.get(id);
      if (!call) {
        if (row) this.#observer.unobserve(row);
        this.#visible.delete(row);
        row?.remove();
        this.#rows.delete(id);
        continue;
      }
      if (!row) {
        row = this.#root.querySelector("template").content.firstElementChild.cloneNode(true);
        row.dataset.call = id;
        this.#rows.set(id, row);
        this.#body.prepend(row);
        this.#observer.observe(row);
      }
      this.#write(row, call);
    }
    this.#dirty.clear();
    this.#summarise();
  }

  #write(row, call) {
    const part = (name) => row.querySelector(`[data-part=${name}]`);
    const set = (name, text) => {
      const element = part(name);
      if (element.textContent !== (text ?? "")) element.textContent = text ?? "";
    };
    const recording = this.#recordingOf(call.id);
    const spies = [...this.#spies.values()].filter((spy) => spy.call_id === call.id);
    set("caller", call.caller.name || call.caller.number || this.#words.unknown);
    set("caller-number", call.caller.name ? call.caller.number : "");
    set("callee", call.callee.name || call.callee.number || call.did);
    set("agent", call.agent);
    set("team", this.teams[call.agent] ?? "");
    set("queue", call.queue);
    set("direction", this.#words[call.direction]);
    set("state", this.#words[call.state]);
    part("state").className = `pill ${call.state === "up" ? "good" : "accent"}`;
    row.dataset.since = call.answered_at ?? call.started_at;
    set("duration", this.#age(row, call));
    set("recording", recording ? this.#words[recording.state] : "");
    part("recording").className = `pill ${recording?.state === "recording" ? "alert" : "warn"}`;
    part("recording").hidden = !recording;
    set("spies", spies.map((spy) => `${spy.supervisor} (${this.#words[spy.mode]})`).join(", "));
    const lives = call.state !== "ended";
    for (const button of row.querySelectorAll("button[data-act]")) {
      button.hidden = !lives || !this.#offers(button.dataset.act, call, recording);
      const about = `${call.caller.number ?? ""} ${call.agent ?? ""}`.trim();
      button.setAttribute("aria-label", `${button.textContent.trim()}: ${about}`);
    }
    row.hidden = !this.#matches(call);
  }

  #recordingOf(callId) {
    return [...this.#recordings.values()].find((one) => one.call_id === callId);
  }

  #offers(act, call, recording) {
    if (act === "listen") return call.state === "up" && heard()?.call_id !== call.id;
    if (act === "record") return call.state === "up" && !recording;
    if (act === "resume") return recording?.state === "paused";
    if (act === "pause") return recording?.state === "recording";
    return recording !== undefined; // stop
  }

  async #clicked({ target }) {
    const button = target.closest("button[data-act]");
    if (!button) return;
    const id = button.closest("tr").dataset.call;
    const act = button.dataset.act;
    button.disabled = true;
    try {
      if (act === "listen") await listen(this.#calls.get(id));
      else if (act === "record") await ask("POST", `/calls/${encodeURIComponent(id)}/recordings`, {});
      else await ask("POST", `/recordings/${this.#recordingOf(id).id}/${act}`, {});
    } catch (error) {
      toast(error.message, { bad: true });
    } finally {
      button.disabled = false;
    }
  }

  // What is shown

  #matches(call) {
    const { words, queue, team } = this.#sought;
    const texts = [call.caller.number, call.caller.name, call.callee.number, call.agent, call.queue];
    return (
      (!queue || call.queue === queue) &&
      (!team || this.teams[call.agent] === team) &&
      (!words || texts.some((text) => text?.toLowerCase().includes(words)))
    );
  }

  #seek() {
    this.#sought = Object.fromEntries(new FormData(this.#root.querySelector("form")));
    this.#sought.words = this.#sought.words.trim().toLowerCase();
  }

  #filter() {
    this.#seek();
    for (const [id, row] of this.#rows) row.hidden = !this.#matches(this.#calls.get(id));
    this.#summarise();
  }

  #summarise() {
    const shown = [...this.#rows.values()].filter((row) => !row.hidden).length;
    const count = this.#root.querySelector("[data-count]");
    count.textContent = shown === this.#rows.size ? `${shown}` : `${shown} / ${this.#rows.size}`;
    this.#root.querySelector("[data-empty]").hidden = this.#rows.size > 0;
    this.#root.querySelector("[data-none]").hidden = this.#rows.size === 0 || shown > 0;
    this.#root.querySelector(".table").hidden = shown === 0;
    const select = this.#root.querySelector("select[name=queue]");
    const known = new Set([...select.options].map((option) => option.value));
    for (const { queue } of this.#calls.values()) {
      if (queue && !known.has(queue)) select.add(new Option(queue, queue));
      known.add(queue);
    }
  }

  #age(row, call) {
    const to = call?.ended_at ? new Date(call.ended_at) : new Date();
    return duration((to - new Date(row.dataset.since)) / 1000);
  }

  #sees(seen) {
    for (const { target, isIntersecting } of seen) {
      if (isIntersecting) this.#visible.add(target);
      else this.#visible.delete(target);
    }
    this.#tick();
  }

  #tick() {
    for (const row of this.#visible) {
      const call = this.#calls.get(row.dataset.call);
      if (call?.ended_at) continue;
      row.querySelector("[data-part=duration]").textContent = this.#age(row, call);
    }
  }

  #say(connected) {
    this.#root.querySelector("[data-connected]").hidden = !connected;
    this.#root.querySelector("[data-lost]").hidden = connected;
  }
}

/** Show the live calls in this part of the page, for as long as it is there. */
export function mount(root) {
  const wall = new Wall(root);
  wall.begin();
  whenGone(root, () => wall.close());
}
