import assert from "node:assert/strict";
import { describe, test } from "node:test";

import {
  EVENT_TYPES, LiveModel, ageOf, agentOf, describe as describeCall, matches, parties,
} from "../../api/static/live-model.js";

const WORDS = {
  unknown: "unknown", inbound: "from outside", outbound: "to outside", up: "talking", ringing: "rings",
  ended: "has ended", left: "has gone", recording: "records", paused: "paused", requested: "begins",
  listen: "listens", barge: "barges in", talking: "talking", waiting: "waits", menu: "in a menu",
  on_hold: "on hold", conference: "conference of {people}", place: "place {place}",
  joined: "with {parties}", others: "others",
};
const PAGE = { words: WORDS, teams: { 2001: "support" }, names: {}, seesAll: true };

/** @param {Partial<Api.Call>} [fields] @returns {Api.Call} */
function call(fields) {
  return {
    id: "main-1", state: "up", direction: "inbound", caller: { number: "12025550123", name: "Alice" },
    callee: { number: "2001" }, agent: "2001", queue: "sales", did: "3000",
    started_at: "2026-01-01T10:00:00Z", answered_at: "2026-01-01T10:00:10Z", ended_at: null,
    pbx: "main", activity: null, people: 2, joined: [], waiting: null, ...fields,
  };
}

/** @param {Partial<Api.Spy>} [fields] @returns {Api.Spy} */
function spy(fields) {
  return {
    id: "s1", call_id: "main-1", mode: "listen", state: "live", supervisor: "sam",
    destination: "browser", cause: null, ...fields,
  };
}

/** @param {{ calls?: Api.Call[], recordings?: Api.Recording[], spies?: Api.Spy[] }} [lists] */
function modelOf({ calls = [call()], recordings = [], spies = [] } = {}) {
  const model = new LiveModel();
  model.replace({ calls, recordings, spies });
  return model;
}

/** @param {LiveModel} model @param {string | null} [heardCallId] @param {string} [id] */
function rowOf(model, heardCallId = null, id = "main-1") {
  const found = model.calls.get(id);
  assert.ok(found);
  return describeCall(model, found, PAGE, heardCallId);
}

describe("events", () => {
  test("every type is asked for once, with its kind", () => {
    assert.equal(new Set(EVENT_TYPES).size, EVENT_TYPES.length);
    for (const type of ["call.left", "call.ended", "recording.paused", "spy.moved"]) {
      assert.ok(EVENT_TYPES.includes(type), type);
    }
  });

  test("a call that rings appears, and a call that ends is over", () => {
    const model = modelOf({ calls: [] });
    const rings = model.apply({ type: "call.ringing", data: call({ state: "ringing" }) });
    assert.deepEqual(rings, { calls: ["main-1"], over: null, isStale: false });
    const ends = model.apply({ type: "call.ended", data: call({ state: "ended" }) });
    assert.deepEqual(ends, { calls: ["main-1"], over: "main-1", isStale: false });
    assert.equal(rowOf(model).texts.state, "has ended");
  });

  test("applying an event twice does no harm", () => {
    const model = modelOf();
    const event = { type: "recording.recording", data: { id: "r", call_id: "main-1", state: "recording" } };
    model.apply(event);
    model.apply(event);
    assert.equal(rowOf(model).texts.recording, "records");
  });

  test("a call that another agent has now stays until it is forgotten", () => {
    const model = modelOf();
    assert.equal(model.apply({ type: "call.left", data: { id: "main-1" } }).over, "main-1");
    assert.equal(rowOf(model).texts.state, "has gone");
    assert.equal(rowOf(model).texts.caller, "Alice");
    assert.equal(model.forget("main-1"), true);
    assert.equal(model.calls.size, 0);
  });

  test("an unknown call does not leave", () => {
    const change = modelOf({ calls: [] }).apply({ type: "call.left", data: { id: "main-1" } });
    assert.deepEqual(change, { calls: [], over: null, isStale: false });
  });

  test("a call that comes back is not forgotten", () => {
    const model = modelOf();
    model.apply({ type: "call.left", data: { id: "main-1" } });
    model.apply({ type: "call.changed", data: call() });
    assert.equal(model.forget("main-1"), false);
    assert.equal(model.forget("main-2"), false);
    assert.equal(rowOf(model).texts.state, "talking");
  });

  test("with a call its recordings and spies are forgotten, and no others", () => {
    const model = modelOf({
      calls: [call(), call({ id: "main-2" })],
      recordings: [
        { id: "r1", call_id: "main-1", state: "recording" },
        { id: "r2", call_id: "main-2", state: "recording" },
      ],
      spies: [spy(), spy({ id: "s2", call_id: "main-2" })],
    });
    model.apply({ type: "call.ended", data: call({ state: "ended" }) });
    model.forget("main-1");
    assert.equal(model.recordingOf("main-1"), undefined);
    assert.deepEqual(model.spiesOf("main-1"), []);
    assert.equal(model.recordingOf("main-2")?.id, "r2");
    assert.equal(model.spiesOf("main-2").length, 1);
  });

  test("a recording that has ended runs no more, and a paused one does", () => {
    const model = modelOf();
    const event = (/** @type {string} */ state) =>
      model.apply({ type: `recording.${state}`, data: { id: "r", call_id: "main-1", state } });
    for (const state of ["requested", "recording", "paused"]) {
      event(state);
      assert.equal(model.recordingOf("main-1")?.state, state);
    }
    for (const state of ["captured", "aborted", "discarded", "failed"]) {
      event("recording");
      event(state);
      assert.equal(model.recordingOf("main-1"), undefined, state);
    }
  });

  test("an event of a recording keeps the fields that it does not name", () => {
    const model = modelOf({ recordings: [{ id: "r", call_id: "main-1", state: "recording" }] });
    model.apply({ type: "recording.paused", data: { id: "r", call_id: "main-1", state: "paused" } });
    assert.equal(model.recordingOf("main-1")?.state, "paused");
  });

  test("a spy that moves changes both calls", () => {
    const model = modelOf({ calls: [call(), call({ id: "main-2" })], spies: [spy()] });
    const change = model.apply({ type: "spy.moved", data: spy({ call_id: "main-2" }) });
    assert.deepEqual(new Set(change.calls), new Set(["main-1", "main-2"]));
    assert.equal(rowOf(model).texts.spies, "");
    assert.equal(rowOf(model, null, "main-2").texts.spies, "sam (listens)");
  });

  test("the lists are stale once the viewer stops listening to the call of another agent", () => {
    const model = modelOf({ spies: [spy()] });
    assert.equal(model.apply({ type: "spy.ended", data: spy({ state: "ended" }) }).isStale, false);
    model.apply({ type: "spy.live", data: spy() });
    model.apply({ type: "call.left", data: { id: "main-1" } });
    assert.equal(model.apply({ type: "spy.switched", data: spy({ mode: "barge" }) }).isStale, false);
    assert.equal(model.apply({ type: "spy.ended", data: spy({ state: "ended" }) }).isStale, true);
    const recording = { id: "r", call_id: "main-1", state: "failed" };
    assert.equal(model.apply({ type: "recording.failed", data: recording }).isStale, false);
    model.replace({ calls: [call()], recordings: [], spies: [] });
    assert.equal(model.apply({ type: "spy.ended", data: spy({ state: "ended" }) }).isStale, false);
  });

  test("lists replace everything", () => {
    const model = modelOf({ spies: [spy()], recordings: [{ id: "r", call_id: "main-1", state: "paused" }] });
    model.replace({ calls: [call()], recordings: [], spies: [] });
    assert.deepEqual([model.recordingOf("main-1"), model.spiesOf("main-1")], [undefined, []]);
  });
});

describe("a row", () => {
  test("shows names before numbers, and the agent with the team", () => {
    const { texts, tone, about } = rowOf(modelOf());
    assert.deepEqual(texts, {
      caller: "Alice", "caller-number": "12025550123", callee: "2001", agent: "2001", team: "support",
      queue: "sales", direction: "from outside", state: "talking", more: "", recording: "", spies: "",
    });
    assert.equal(tone, "good");
    assert.equal(about, "12025550123 2001");
  });

  test("shows the number once, or says that the caller is unknown", () => {
    const byNumber = rowOf(modelOf({ calls: [call({ caller: { number: "77" } })] })).texts;
    assert.deepEqual([byNumber.caller, byNumber["caller-number"]], ["77", ""]);
    const nobody = rowOf(modelOf({ calls: [call({ caller: {}, callee: {}, agent: null })] })).texts;
    assert.deepEqual([nobody.caller, nobody.callee, nobody.agent, nobody.team], ["unknown", "3000", "", ""]);
  });

  test("has the colour of its state", () => {
    assert.equal(rowOf(modelOf({ calls: [call({ state: "ringing" })] })).tone, "accent");
    assert.equal(rowOf(modelOf({ calls: [call({ state: "ended" })] })).tone, "");
  });

  for (const [activity, text, tone] of [
    ["talking", "talking", "good"], ["on_hold", "on hold", "accent"], ["menu", "in a menu", ""],
    ["ringing", "rings", "accent"], ["waiting", "waits", "warn"], ["conference", "conference of 4", "good"],
  ]) {
    test(`says that the call is ${activity}, whatever its state`, () => {
      const row = rowOf(modelOf({ calls: [call({ state: "up", activity, people: 4 })] }));
      assert.deepEqual([row.texts.state, row.tone], [text, tone]);
    });
  }

  test("says nothing of the activity once the call is over", () => {
    const waiting = { queue: "sales", since: "2026-01-01T10:00:00Z" };
    const over = call({ state: "left", activity: "waiting", waiting, joined: ["main-2"] });
    const { texts, tone, waitingSince } = rowOf(modelOf({ calls: [over] }));
    assert.deepEqual([texts.state, texts.more, tone, waitingSince], ["has gone", "", "", null]);
  });

  /** @param {string} id @param {string} since @param {Partial<Api.Call>} [fields] */
  const waits = (id, since, fields) =>
    call({ id, activity: "waiting", waiting: { queue: "sales", since: `2026-01-01T10:00:${since}Z` }, ...fields });

  test("shows the place in the queue, counted over the callers of the same queue", () => {
    const model = modelOf({
      calls: [
        waits("a", "05"), waits("b", "05.5"), waits("c", "04.25"), call({ id: "d" }), waits("e", "05"),
        waits("f", "01", { waiting: { queue: "other", since: "2026-01-01T09:00:00Z" } }),
        waits("g", "01", { pbx: "second" }),
      ],
    });
    const places = ["c", "a", "e", "b", "f", "g", "d"].map((id) => rowOf(model, null, id).texts.more);
    assert.deepEqual(places, ["place 1", "place 2", "place 3", "place 4", "place 1", "place 1", ""]);
    assert.equal(rowOf(model, null, "a").waitingSince, "2026-01-01T10:00:05Z");
    const leaves = model.apply({ type: "call.changed", data: call({ id: "c", activity: "talking" }) });
    assert.deepEqual(new Set(leaves.calls), new Set(["c", "a", "b", "e"]));
    assert.equal(rowOf(model, null, "a").texts.more, "place 1");
    model.apply({ type: "call.left", data: { id: "a" } });
    assert.equal(rowOf(model, null, "e").texts.more, "place 1");
    model.forget("a");
    model.apply({ type: "call.changed", data: waits("new", "03") });
    assert.equal(rowOf(model, null, "e").texts.more, "place 2");
    model.replace({ calls: [waits("b", "05")], recordings: [], spies: [] });
    assert.equal(rowOf(model, null, "b").texts.more, "place 1");
  });

  test("shows no place to a viewer who does not see every call", () => {
    const model = modelOf({ calls: [waits("a", "05")] });
    const [one] = model.calls.values();
    assert.equal(describeCall(model, one, { ...PAGE, seesAll: false }, null).texts.more, "");
  });

  test("names the calls of the same conversation, and says that others are hidden", () => {
    const model = modelOf({
      calls: [
        call({ joined: ["main-2", "main-3"] }),
        call({ id: "main-2", caller: { number: "77" }, joined: ["main-1"] }),
      ],
    });
    assert.equal(rowOf(model).texts.more, "with 77, others");
    assert.equal(rowOf(model, null, "main-2").texts.more, "with Alice");
    const parts = model.apply({ type: "call.changed", data: call() });
    assert.deepEqual(new Set(parts.calls), new Set(["main-1", "main-2"]));
    assert.equal(rowOf(model).texts.more, "");
  });

  const offers = (/** @type {LiveModel} */ model, /** @type {string | null} */ heard = null) =>
    [...rowOf(model, heard).actions].sort();
  const recorded = (/** @type {string} */ state) =>
    modelOf({ recordings: [{ id: "r", call_id: "main-1", state }] });

  test("offers to listen and to record once somebody has answered", () => {
    assert.deepEqual(offers(modelOf()), ["conference", "listen", "record"]);
    assert.deepEqual(offers(modelOf({ calls: [call({ state: "ringing" })] })), []);
  });

  test("offers a conference only where two people talk", () => {
    assert.deepEqual(offers(modelOf({ calls: [call({ people: 1 })] })), ["listen", "record"]);
  });

  test("offers no listening to the call that the viewer hears", () => {
    assert.deepEqual(offers(modelOf(), "main-1"), ["conference", "record"]);
    assert.deepEqual(offers(modelOf(), "main-2"), ["conference", "listen", "record"]);
  });

  test("offers what the state of its recording allows", () => {
    assert.deepEqual(offers(recorded("recording")), ["conference", "listen", "pause", "stop"]);
    assert.deepEqual(offers(recorded("paused")), ["conference", "listen", "resume", "stop"]);
    assert.deepEqual(offers(recorded("requested")), ["conference", "listen", "stop"]);
  });

  test("offers nothing when the call is over", () => {
    const model = recorded("recording");
    model.apply({ type: "call.left", data: { id: "main-1" } });
    assert.deepEqual(offers(model), []);
  });

  test("shows its recording and warns while nothing is kept", () => {
    assert.equal(rowOf(modelOf()).recordingTone, null);
    assert.equal(rowOf(recorded("recording")).recordingTone, "alert");
    assert.equal(rowOf(recorded("paused")).recordingTone, "warn");
    assert.equal(rowOf(recorded("paused")).texts.recording, "paused");
  });

  test("says that we have set the call up", () => {
    const words = { ...PAGE.words, outbound: "outgoing", dialled: "dialled here" };
    const model = modelOf({ calls: [call({ direction: "outbound", trigger: "dialled" })] });
    const [one] = model.calls.values();
    const { texts } = describeCall(model, one, { ...PAGE, words }, null);
    assert.equal(texts.direction, "outgoing, dialled here");
  });

  test("names every spy with its mode", () => {
    const model = modelOf({ spies: [spy(), spy({ id: "s2", supervisor: "kim", mode: "barge" })] });
    assert.equal(rowOf(model).texts.spies, "sam (listens), kim (barges in)");
  });
});

describe("parties", () => {
  test("of an inbound call are the caller and the agent", () => {
    assert.deepEqual(parties(call()), ["12025550123", "2001"]);
  });

  test("of an outbound call do not name the agent twice, though another number is shown", () => {
    const out = { direction: "outbound", caller: { number: "99" }, callee: { number: "77" }, agent: "2001" };
    assert.deepEqual(parties(out), ["77", "2001"]);
  });

  test("of a call from an agent to an agent are both", () => {
    const inside = { caller: { number: "2001" }, callee: { number: "2002" }, agent: "2001" };
    assert.deepEqual(parties(inside), ["2002", "2001"]);
  });

  test("that are unknown are left out", () => {
    assert.deepEqual(parties({ caller: {}, callee: {}, agent: null }), []);
    assert.deepEqual(parties({ caller: { number: "77" }, callee: {}, agent: null }), ["77"]);
  });
});

test("the age of a call counts from its answer to its end", () => {
  const now = new Date("2026-01-01T10:01:10Z");
  assert.equal(ageOf(call(), now), 60);
  assert.equal(ageOf(call({ answered_at: null }), now), 70);
  assert.equal(ageOf(call({ ended_at: "2026-01-01T10:00:30Z" }), now), 20);
});

test("a search fits by words, queue and team together", () => {
  const teams = PAGE.teams;
  const found = (/** @type {Partial<{ words: string, queue: string, team: string }>} */ search) =>
    matches(call(), { words: "", queue: "", team: "", ...search }, teams);
  for (const search of [{}, { words: "ali" }, { words: "0123" }, { words: "2001" }, { words: "sale" },
    { queue: "sales" }, { team: "support" }, { words: "ali", queue: "sales", team: "support" }]) {
    assert.equal(found(search), true, JSON.stringify(search));
  }
  for (const search of [{ words: "bob" }, { queue: "payments" }, { team: "billing" },
    { words: "ali", queue: "payments" }]) {
    assert.equal(found(search), false, JSON.stringify(search));
  }
  assert.equal(matches(call({ agent: null }), { words: "", queue: "", team: "support" }, teams), false);
});

test("an agent has the name of the list where the PBX gives none", () => {
  const [caller, names] = [{ number: "0123", name: "Alice" }, { 2001: "Ann" }];
  const callee = { number: "2001", name: null };
  assert.equal(agentOf({ caller, callee, agent: "2001" }, names), "2001 Ann");
  assert.equal(agentOf({ caller, callee: { ...callee, name: "Desk" }, agent: "2001" }, names), "2001");
  assert.equal(agentOf({ caller, callee, agent: "2002" }, names), "2002");
  assert.equal(agentOf({ caller, callee, agent: null }, names), "");
  const found = call({ agent: "2001", caller, callee });
  assert.equal(matches(found, { words: "ann", queue: "", team: "" }, {}, names), true);
  assert.equal(matches(found, { words: "ann", queue: "", team: "" }, {}), false);
});

test("each queue with a call is offered once", () => {
  const calls = [call(), call({ id: "2" }), call({ id: "3", queue: null }), call({ id: "4", queue: "b" })];
  assert.deepEqual(modelOf({ calls }).queues(), ["sales", "b"]);
});
