/**
 * The live calls, with their recordings and spies: computed from lists and events, without a page.
 *
 * Each event holds the whole resource, so applying one twice does no harm.
 */

import { fillIn } from "./words.js";

const EVENTS = {
  call: ["ringing", "up", "changed", "left", "ended"],
  recording: ["requested", "recording", "paused", "changed", "captured", "aborted", "discarded", "failed"],
  spy: ["requested", "ringing", "live", "switched", "moved", "unheard", "heard-again", "ended"],
};

/** Every type of event that the model understands. */
export const EVENT_TYPES = Object.entries(EVENTS).flatMap(([kind, names]) =>
  names.map((name) => `${kind}.${name}`),
);

/** The states of a recording that is still running. */
export const RUNNING = ["requested", "recording", "paused"];

/**
 * Say whether a call is over for the viewer: it has ended, or it has gone to another agent.
 *
 * @param {Api.Call} call
 */
export function isOver(call) {
  return call.state === "ended" || call.state === "left";
}

/**
 * Return the numbers of the two parties. In a call to outside the caller is the agent.
 *
 * @param {Pick<Api.Call, "caller" | "callee" | "agent"> & { direction?: string }} call
 * @returns {string[]}
 */
export function parties({ direction, caller, callee, agent }) {
  const sides = direction === "outbound" ? [callee] : [caller, callee];
  const other = sides.find(({ number }) => number && number !== agent);
  return [other?.number, agent].flatMap((number) => number || []);
}

/**
 * Return how many seconds a call lasts, from its answer, or from its start before the answer.
 *
 * @param {Pick<Api.Call, "started_at" | "answered_at" | "ended_at">} call
 * @param {Date} now
 */
export function ageOf({ started_at, answered_at, ended_at }, now) {
  const end = ended_at ? new Date(ended_at) : now;
  return (end.getTime() - new Date(answered_at ?? started_at).getTime()) / 1000;
}

/**
 * @typedef {object} Page
 * @property {Record<string, string>} words
 * @property {Record<string, string>} teams the team of each agent
 * @property {Record<string, string>} names the name of each agent in the list of agents
 * @property {boolean} seesAll
 */

/**
 * Return the agent's number, with the name from the list of agents unless the PBX gives a name.
 *
 * @param {Pick<Api.Call, "caller" | "callee" | "agent">} call
 * @param {Record<string, string>} names
 */
export function agentOf({ caller, callee, agent }, names) {
  if (!agent) return "";
  const own = [caller, callee].find(({ number }) => number === agent);
  return own?.name || !names[agent] ? agent : `${agent} ${names[agent]}`;
}

/**
 * Say whether a call fits a search. Empty fields of the search fit every call.
 *
 * @param {Api.Call} call
 * @param {{ words: string, queue: string, team: string }} search `words` in lower case
 * @param {Record<string, string>} teams the team of each agent
 * @param {Record<string, string>} names the name of each agent that the PBX may not know
 */
export function matches(call, { words, queue, team }, teams, names = {}) {
  const { caller, callee, agent } = call;
  const texts = [caller.number, caller.name, callee.number, agent, names[agent ?? ""], call.queue];
  return (
    (!queue || call.queue === queue) &&
    (!team || teams[call.agent ?? ""] === team) &&
    (!words || texts.some((text) => text?.toLowerCase().includes(words)))
  );
}

/**
 * @typedef {object} Change
 * @property {string[]} calls the ids of the calls that look different now
 * @property {string | null} over the id of a call that is over now; `forget` it after a moment
 * @property {boolean} isStale whether the lists must be read again
 */

/**
 * Return a key for the queue in which a call waits, or null if it does not wait.
 *
 * @param {Api.Call} call
 */
function queueOf(call) {
  return call.waiting && !isOver(call) ? `${call.pbx} ${call.waiting.queue}` : null;
}

export class LiveModel {
  /** @type {Map<string, Api.Call>} */
  calls = new Map();
  /** @type {Map<string, Api.Recording>} */
  #recordings = new Map();
  /** @type {Map<string, Api.Spy>} */
  #spies = new Map();
  /** @type {Map<string, Set<string>>} the ids of the waiting calls, by queue */
  #queued = new Map();
  /** @type {Set<string>} calls of another agent, which the viewer sees only while listening */
  #left = new Set();

  /**
   * Replace everything by what the lists of the API hold.
   *
   * @param {{ calls: Api.Call[], recordings: Api.Recording[], spies: Api.Spy[] }} lists
   */
  replace({ calls, recordings, spies }) {
    this.calls = new Map(calls.map((call) => [call.id, call]));
    this.#recordings = new Map(recordings.map((recording) => [recording.id, recording]));
    this.#spies = new Map(spies.map((spy) => [spy.id, spy]));
    this.#left.clear();
    this.#queued.clear();
    for (const call of calls) this.#queue(call);
  }

  /**
   * Count a call in its queue, if it waits.
   *
   * @param {Api.Call} call
   */
  #queue(call) {
    const key = queueOf(call);
    if (key) this.#queued.set(key, (this.#queued.get(key) ?? new Set()).add(call.id));
  }

  /**
   * Return the calls that wait in the same queue as this one, itself included.
   *
   * @param {Api.Call} call
   */
  #queuedWith(call) {
    const ids = this.#queued.get(queueOf(call) ?? "") ?? [];
    return [...ids].flatMap((id) => this.calls.get(id) ?? []);
  }

  /**
   * Apply one event of the stream.
   *
   * @param {Api.Event} event
   * @returns {Change}
   */
  apply({ type, data }) {
    if (type === "call.left") return this.#leave(data.id);
    if (type.startsWith("call.")) return this.#setCall(/** @type {Api.Call} */ (data));
    if (type.startsWith("recording.")) {
      return { calls: put(this.#recordings, data, RUNNING.includes(data.state)), over: null, isStale: false };
    }
    const calls = put(this.#spies, data, data.state !== "ended");
    // Without the spy the viewer may no longer see a call of another agent.
    return { calls, over: null, isStale: type === "spy.ended" && this.#left.has(data.call_id) };
  }

  /**
   * Show that another agent has the call. If the viewer may still see it, its next event says so.
   *
   * @param {string} callId
   * @returns {Change}
   */
  #leave(callId) {
    const call = this.calls.get(callId);
    if (!call) return { calls: [], over: null, isStale: false };
    this.#left.add(callId);
    return this.#setCall({ ...call, state: "left" });
  }

  /**
   * @param {Api.Call} call
   * @returns {Change}
   */
  #setCall(call) {
    const before = this.calls.get(call.id);
    this.calls.set(call.id, call);
    if (before) this.#queued.get(queueOf(before) ?? "")?.delete(call.id);
    this.#queue(call);
    const near = [before, call].flatMap((one) => (one ? this.#near(one) : []));
    return { calls: [...new Set([call.id, ...near])], over: isOver(call) ? call.id : null, isStale: false };
  }

  /**
   * Return the ids of the calls whose rows name this call, or count it.
   *
   * @param {Api.Call} call
   */
  #near(call) {
    const joined = (call.joined ?? []).filter((id) => this.calls.has(id));
    return [...joined, ...this.#queuedWith(call).map(({ id }) => id)];
  }

  /**
   * Return the place of a call in its queue, counted from 1, or null if it does not wait.
   *
   * @param {Api.Call} call
   */
  placeOf(call) {
    const { waiting } = call;
    if (!waiting || isOver(call)) return null;
    const isBefore = (/** @type {Api.Call} */ other) => {
      const laterMs = Date.parse(waiting.since) - Date.parse(other.waiting?.since ?? "");
      return laterMs > 0 || (laterMs === 0 && other.id < call.id);
    };
    return 1 + this.#queuedWith(call).filter(isBefore).length;
  }

  /**
   * Return the calls that are joined with this one, and how many of them the viewer does not see.
   *
   * @param {Api.Call} call
   */
  joinedWith(call) {
    const ids = isOver(call) ? [] : call.joined ?? [];
    const seen = ids.flatMap((id) => this.calls.get(id) ?? []);
    return { seen, hidden: ids.length - seen.length };
  }

  /**
   * Remove a call that is over. Return false if it has come back meanwhile.
   *
   * @param {string} callId
   */
  forget(callId) {
    const call = this.calls.get(callId);
    if (!call || !isOver(call)) return false;
    this.calls.delete(callId);
    for (const resources of [this.#recordings, this.#spies]) {
      for (const [id, { call_id }] of resources) if (call_id === callId) resources.delete(id);
    }
    return true;
  }

  /**
   * Return the running recording of a call, if there is one.
   *
   * @param {string} callId
   */
  recordingOf(callId) {
    return [...this.#recordings.values()].find(({ call_id }) => call_id === callId);
  }

  /**
   * Return the spies on a call.
   *
   * @param {string} callId
   */
  spiesOf(callId) {
    return [...this.#spies.values()].filter(({ call_id }) => call_id === callId);
  }

  /** Return the names of all queues that have a live call. */
  queues() {
    return [...new Set([...this.calls.values()].flatMap(({ queue }) => queue || []))];
  }
}

/**
 * Store a resource while it runs, else remove it; return the ids of the calls that this changes.
 *
 * @param {Map<string, any>} resources
 * @param {Record<string, any>} data
 * @param {boolean} runs
 * @returns {string[]}
 */
function put(resources, data, runs) {
  const before = resources.get(data.id);
  if (runs) resources.set(data.id, { ...before, ...data });
  else resources.delete(data.id);
  const hasMoved = before && before.call_id !== data.call_id;
  return hasMoved ? [data.call_id, before.call_id] : [data.call_id];
}

/**
 * @typedef {object} Row what the page shows of a call
 * @property {Api.Call} call
 * @property {Record<string, string>} texts by the name of the part of the row
 * @property {string} tone the colour of the state
 * @property {"alert" | "warn" | null} recordingTone null if nothing is recorded
 * @property {Set<string>} actions the buttons that the call offers now
 * @property {string} about the parties, for the labels of the buttons
 * @property {string | null} waitingSince since when the caller waits in a queue
 */

/**
 * Return what the page shows of a call.
 *
 * @param {LiveModel} model
 * @param {Api.Call} call
 * @param {Page} page
 * @param {string | null} heardCallId the call that the viewer hears now
 * @returns {Row}
 */
export function describe(model, call, { words, teams, names, seesAll }, heardCallId) {
  const recording = model.recordingOf(call.id);
  const spies = model.spiesOf(call.id).map((spy) => `${spy.supervisor} (${words[spy.mode]})`);
  const { caller, callee } = call;
  const texts = {
    caller: callerOf(call, words),
    "caller-number": (caller.name && caller.number) || "",
    callee: callee.name || callee.number || call.did || "",
    agent: agentOf(call, names),
    team: teams[call.agent ?? ""] ?? "",
    queue: call.queue ?? "",
    direction: directionOf(call, words),
    state: stateOf(call, words),
    more: moreOf(model, call, words, seesAll),
    recording: recording ? words[recording.state] ?? "" : "",
    spies: spies.join(", "),
  };
  return {
    call,
    texts,
    tone: isOver(call) ? "" : TONES[activityOf(call)] ?? "",
    recordingTone: recording ? (recording.state === "recording" ? "alert" : "warn") : null,
    actions: actionsOf(call, recording, heardCallId),
    about: parties(call).join(" "),
    waitingSince: isOver(call) ? null : call.waiting?.since ?? null,
  };
}

/**
 * @param {Api.Call} call
 * @param {Record<string, string>} words
 */
function callerOf({ caller }, words) {
  return caller.name || caller.number || words.unknown;
}

/**
 * Return the words for the direction, and for a call that we set up.
 *
 * @param {Api.Call} call
 * @param {Record<string, string>} words
 */
function directionOf({ direction, trigger }, words) {
  return [words[direction], trigger && words[trigger]].filter(Boolean).join(", ");
}

/** @type {Record<string, string>} the colour of each activity */
const TONES = {
  talking: "good", conference: "good", on_hold: "accent", ringing: "accent", waiting: "warn",
};

/**
 * Return the activity of a live call.
 *
 * @param {Api.Call} call
 */
function activityOf({ activity, state }) {
  return activity ?? (state === "up" ? "talking" : state);
}

/**
 * @param {Api.Call} call
 * @param {Record<string, string>} words
 */
function stateOf(call, words) {
  if (isOver(call)) return words[call.state] ?? "";
  return fillIn(words[activityOf(call)] ?? "", { people: call.people });
}

/**
 * Return the place in the queue, or the other calls of the conversation.
 *
 * Only a viewer who sees every call can count the callers in a queue.
 *
 * @param {LiveModel} model
 * @param {Api.Call} call
 * @param {Record<string, string>} words
 * @param {boolean} seesAll
 */
function moreOf(model, call, words, seesAll) {
  const place = seesAll ? model.placeOf(call) : null;
  if (place !== null) return fillIn(words.place, { place });
  const { seen, hidden } = model.joinedWith(call);
  if (seen.length + hidden === 0) return "";
  const others = seen.map((one) => callerOf(one, words));
  if (hidden > 0) others.push(words.others);
  return fillIn(words.joined, { parties: others.join(", ") });
}

/**
 * @param {Api.Call} call
 * @param {Api.Recording | undefined} recording
 * @param {string | null} heardCallId
 */
function actionsOf(call, recording, heardCallId) {
  const isUp = call.state === "up";
  const offered = {
    listen: isUp && heardCallId !== call.id,
    record: isUp && !recording,
    pause: recording?.state === "recording",
    resume: recording?.state === "paused",
    stop: recording !== undefined,
    conference: isUp && call.people > 1,
  };
  const names = Object.entries(offered).filter(([, isOffered]) => isOffered);
  return new Set(isOver(call) ? [] : names.map(([name]) => name));
}
