/**
 * The calls as they are.
 *
 * The stream is opened before the list is asked for: what happens meanwhile is taken after it, and
 * as each event holds the whole row, to take one twice does no harm. However many events come, the
 * page is written twice a second, and clocks run where one sees them. While somebody is about to
 * choose a row none comes or goes, so that a click hits what was aimed at.
 */
import { COMES_BACK_AFTER_MS, follow } from "./following.js";
import { ask, askAll } from "./http.js";
import { duration } from "./times.js";
import { toast, whenGone } from "./page.js";
import { listen, heard, parties } from "./listening.js";

const GONE_STAYS_MS = 2000;
const WRITTEN_EVERY_MS = 500;
const HELD_MS = 5000; // a pointer that rests so long aims at nothing
const TOLD = {
  call: ["ringing", "up", "changed", "left", "ended"],
  recording: ["requested", "recording", "paused", "changed", "captured", "aborted", "discarded", "failed"],
  spy: ["requested", "ringing", "live", "switched", "moved", "ended"],
};
const TYPES = Object.entries(TOLD).flatMap(([kind, ones]) => ones.map((one) => `${kind}.${one}`));
const GONE = new Set(["ended", "left"]);
const RUNS = new Set(["requested", "recording", "paused"]);

class Wall {
  #calls = new Map();
  #recordings = new Map(); // those that run
  #spies = new Map(); // those that have not ended
  #sought = {};
  #rows = new Map();
  #left = new Set(); // calls that are others' now, and seen only for as long as one listens
  #dirty = new Set();
  #backlog = []; // what came while no list is there, and the sign of the list that is awaited
  #writing = null;
  #touchedAt = -Infinity;
  #visible = new Set();
  #observer = new IntersectionObserver((seen) => this.#sees(seen));
  #following = null;
  #connected = false;
  #timer = null;
  #again = null;
  #root;
  #words;
  #teams;
  #body;

  constructor(root) {
    this.#root = root;
    this.#words = JSON.parse(root.querySelector("[data-words]").textContent);
    this.#body = root.querySelector("tbody");
    this.#teams = JSON.parse(root.querySelector("[data-teams]").textContent);
  }

  begin() {
    const form = this.#root.querySelector("form");
    form.addEventListener("input", () => this.#filter());
    form.addEventListener("submit", (event) => event.preventDefault()); // it is sought as one types
    this.#body.addEventListener("click", (event) => this.#clicked(event));
    for (const type of ["pointermove", "pointerdown", "focusin", "keydown"]) {
      this.#body.addEventListener(type, () => (this.#touchedAt = performance.now()));
    }
    this.#timer = setInterval(() => this.#tick(), 1000);
    document.addEventListener("visibilitychange", this.#shown);
    this.#seek();
    if (!document.hidden) this.#open();
  }

  /** A browser has six connections to one host: a tab that nobody sees takes none. */
  #shown = () => {
    this.#unfollow();
    if (!document.hidden) this.#open();
  };

  #open() {
    this.#following = follow(TYPES, {
      take: (told) => (this.#backlog ? this.#backlog.push(told) : this.#apply(told)),
      began: (anew) => {
        this.#connected = true;
        if (anew) this.#list();
        else if (!this.#backlog) this.#say(true);
      },
      broke: () => {
        this.#connected = false;
        this.#say(false);
      },
    });
  }

  #unfollow() {
    this.#following?.close();
    clearTimeout(this.#again);
    this.#backlog = []; // a list that is still awaited counts no more
  }

  close() {
    document.removeEventListener("visibilitychange", this.#shown);
    this.#unfollow();
    clearInterval(this.#timer);
    clearTimeout(this.#writing);
    this.#observer.disconnect();
  }

  /**
   * All that lives. What came before the list is older than it, what comes after is newer.
   *
   * Until there is one, nothing of what comes is shown; it is asked for until it comes.
   */
  async #list() {
    clearTimeout(this.#again);
    const backlog = (this.#backlog = []);
    const lists = await this.#read().catch(() => null);
    if (this.#backlog !== backlog) return; // another was asked for meanwhile
    if (lists === null) {
      this.#say(false);
      this.#again = setTimeout(() => this.#list(), COMES_BACK_AFTER_MS);
      return;
    }
    [this.#calls, this.#recordings, this.#spies] = lists.map(
      (list) => new Map(list.map((one) => [one.id, one])),
    );
    this.#left.clear();
    for (const id of [...this.#rows.keys(), ...this.#calls.keys()]) this.#dirty.add(id);
    this.#backlog = null;
    backlog.forEach((told) => this.#apply(told));
    this.#draw();
    this.#say(this.#connected);
    this.#root.querySelector("[data-loading]").hidden = true;
  }

  async #read() {
    const [calls, spies, ...recordings] = await Promise.all([
      askAll("/calls"),
      this.#root.dataset.spies ? askAll("/spies") : [],
      ...[...RUNS].map((state) => askAll(`/recordings?state=${state}`)),
    ]);
    return [calls, recordings.flat(), spies];
  }

  #apply({ type, data }) {
    const kind = type.split(".", 1)[0];
    if (type === "call.left") this.#leave(data.id);
    else if (kind === "call") {
      this.#calls.set(data.id, data);
      if (GONE.has(data.state)) setTimeout(() => this.#forget(data.id), GONE_STAYS_MS);
      this.#changed(data.id);
    } else {
      const known = kind === "recording" ? this.#recordings : this.#spies;
      const before = known.get(data.id);
      const runs = kind === "recording" ? RUNS.has(data.state) : data.state !== "ended";
      if (runs) known.set(data.id, { ...before, ...data });
      else known.delete(data.id);
      this.#changed(data.call_id);
      if (before && before.call_id !== data.call_id) this.#changed(before.call_id);
      if (type === "spy.ended" && this.#left.has(data.call_id)) this.#list();
    }
  }

  /** Another agent has the call: whoever may see it all the same is told of it next. */
  #leave(callId) {
    const call = this.#calls.get(callId);
    if (!call) return;
    this.#left.add(callId);
    this.#apply({ type: "call.changed", data: { ...call, state: "left" } });
  }

  #forget(callId) {
    const call = this.#calls.get(callId);
    if (!call || !GONE.has(call.state)) return;
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
    const [dirty, added, held] = [this.#dirty, [], this.#isHeld()];
    this.#dirty = new Set();
    for (const id of dirty) {
      const [call, row] = [this.#calls.get(id), this.#rows.get(id)];
      if (call && row) this.#write(row, call);
      else if (held) this.#changed(id);
      else if (row) this.#remove(id, row);
      else if (call) added.push(call);
    }
    added.sort((one, other) => new Date(one.started_at) - new Date(other.started_at));
    for (const call of added) this.#add(call);
    this.#summarise();
  }

  /** Whether somebody is about to choose a row. */
  #isHeld() {
    const touched = performance.now() - this.#touchedAt < HELD_MS;
    return touched && this.#body.matches(":hover, :focus-within");
  }

  #add(call) {
    const row = this.#root.querySelector("template").content.firstElementChild.cloneNode(true);
    row.dataset.call = call.id;
    this.#rows.set(call.id, row);
    this.#body.prepend(row);
    this.#observer.observe(row);
    this.#write(row, call);
  }

  #remove(id, row) {
    this.#observer.unobserve(row);
    this.#visible.delete(row);
    row.remove();
    this.#rows.delete(id);
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
    set("team", this.#teams[call.agent] ?? "");
    set("queue", call.queue);
    set("direction", this.#words[call.direction]);
    set("state", this.#words[call.state]);
    part("state").className = `pill ${{ up: "good", ringing: "accent" }[call.state] ?? ""}`;
    row.dataset.since = call.answered_at ?? call.started_at;
    set("duration", this.#age(row, call));
    set("recording", recording ? this.#words[recording.state] : "");
    part("recording").className = `pill ${recording?.state === "recording" ? "alert" : "warn"}`;
    part("recording").hidden = !recording;
    set("spies", spies.map((spy) => `${spy.supervisor} (${this.#words[spy.mode]})`).join(", "));
    const lives = !GONE.has(call.state);
    for (const button of row.querySelectorAll("button[data-act]")) {
      button.hidden = !lives || !this.#offers(button.dataset.act, call, recording);
      const about = parties(call).join(" ");
      button.setAttribute("aria-label", `${button.textContent.trim()}: ${about}`);
    }
    const hidden = !this.#matches(call);
    if (hidden !== row.hidden && this.#isHeld()) this.#changed(call.id);
    else row.hidden = hidden;
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
      (!team || this.#teams[call.agent] === team) &&
      (!words || texts.some((text) => text?.toLowerCase().includes(words)))
    );
  }

  #seek() {
    this.#sought = Object.fromEntries(new FormData(this.#root.querySelector("form")));
    this.#sought.words = this.#sought.words.trim().toLowerCase();
  }

  #filter() {
    this.#seek();
    for (const [id, row] of this.#rows) {
      const call = this.#calls.get(id);
      row.hidden = !call || !this.#matches(call);
    }
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
      if (!call || GONE.has(call.state)) continue;
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
