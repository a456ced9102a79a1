import assert from "node:assert/strict";
import { beforeEach, describe, mock, test } from "node:test";

import { LiveFeed } from "../../api/static/live-feed.js";
import { LiveModel } from "../../api/static/live-model.js";
import { FakeEventSource, installFakes, settle } from "./fakes.js";

/** @typedef {Parameters<LiveModel["replace"]>[0]} Lists */

/** @param {string} id @param {string} [state] @returns {Api.Call} */
function call(id, state = "up") {
  return /** @type {Api.Call} */ ({ id, state, caller: {}, callee: {}, started_at: "2026-01-01T10:00:00Z" });
}

/** @type {LiveModel} */
let model;
/** @type {LiveFeed} */
let feed;
/** @type {PromiseWithResolvers<Lists>[]} the reads of the lists, in order */
let reads;
/** @type {string[]} what the feed said */
let said;

/** @param {number} n @param {string[]} ids */
async function answer(n, ids) {
  reads[n].resolve({ calls: ids.map((id) => call(id)), recordings: [], spies: [] });
  await settle();
}

const shown = () => [...model.calls.keys()];

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  installFakes();
  [model, reads, said] = [new LiveModel(), [], []];
  const readLists = () => {
    reads.push(Promise.withResolvers());
    return reads[reads.length - 1].promise;
  };
  feed = new LiveFeed(model, readLists, {
    listed: () => said.push("listed"),
    changed: (ids) => said.push(`changed ${ids}`),
    connection: (isConnected) => said.push(isConnected ? "connected" : "lost"),
  });
  feed.open();
});

describe("the feed", () => {
  test("reads the lists once the stream is open, not before", async () => {
    assert.equal(reads.length, 0);
    FakeEventSource.last.open();
    await answer(0, ["a"]);
    assert.deepEqual([shown(), said], [["a"], ["listed", "connected"]]);
  });

  test("applies events that came while it read the lists after the lists", async () => {
    FakeEventSource.last.open();
    FakeEventSource.last.send("call.ended", call("a", "ended"));
    FakeEventSource.last.send("call.up", call("b"));
    assert.deepEqual(shown(), []);
    await answer(0, ["a"]);
    assert.deepEqual(shown(), ["a", "b"]);
    assert.equal(model.calls.get("a")?.state, "ended");
  });

  test("shows a call that is over for two seconds", async () => {
    FakeEventSource.last.open();
    await answer(0, ["a"]);
    FakeEventSource.last.send("call.ended", call("a", "ended"));
    mock.timers.tick(1999);
    assert.deepEqual(shown(), ["a"]);
    mock.timers.tick(1);
    assert.deepEqual(shown(), []);
    assert.deepEqual(said.slice(2), ["changed a", "changed a"]);
  });

  test("reads the lists again when events were lost, and ignores an older answer", async () => {
    FakeEventSource.last.open();
    FakeEventSource.last.send("events.lost");
    assert.equal(reads.length, 2);
    await answer(0, ["old"]);
    assert.deepEqual(shown(), []);
    await answer(1, ["new"]);
    assert.deepEqual(shown(), ["new"]);
  });

  test("says that it is lost, and retries the lists every five seconds", async () => {
    FakeEventSource.last.open();
    reads[0].reject(new Error("away"));
    await settle();
    assert.deepEqual(said, ["lost"]);
    mock.timers.tick(4999);
    assert.equal(reads.length, 1);
    mock.timers.tick(1);
    assert.equal(reads.length, 2);
    await answer(1, ["a"]);
    assert.deepEqual(said, ["lost", "listed", "connected"]);
  });

  test("keeps the lists when the browser opens the broken stream again", async () => {
    const stream = FakeEventSource.last;
    stream.open();
    await answer(0, ["a"]);
    stream.fail({ forGood: false });
    stream.open();
    assert.deepEqual(said, ["listed", "connected", "lost", "connected"]);
    assert.equal(reads.length, 1);
  });

  test("does not say that it is connected while the lists are missing", async () => {
    const stream = FakeEventSource.last;
    stream.open();
    stream.fail({ forGood: false });
    stream.open();
    assert.deepEqual(said, ["lost"]);
    await answer(0, []);
    assert.deepEqual(said, ["lost", "listed", "connected"]);
  });

  test("says that it is lost if the stream broke while it read the lists", async () => {
    FakeEventSource.last.open();
    FakeEventSource.last.fail({ forGood: false });
    await answer(0, ["a"]);
    assert.deepEqual(said, ["lost", "listed", "lost"]);
  });

  test("opens nothing after it was closed, and ignores the lists on their way", async () => {
    FakeEventSource.last.open();
    feed.close();
    await answer(0, ["a"]);
    mock.timers.tick(60000);
    assert.deepEqual([shown(), said, FakeEventSource.all.length], [[], [], 1]);
    assert.equal(FakeEventSource.last.readyState, FakeEventSource.CLOSED);
  });

  test("opens again, with new lists", async () => {
    FakeEventSource.last.open();
    await answer(0, ["a"]);
    feed.close();
    feed.open();
    FakeEventSource.last.open();
    assert.equal(reads.length, 2);
    FakeEventSource.last.send("call.up", call("b"));
    await answer(1, ["c"]);
    assert.deepEqual(shown(), ["c", "b"]);
  });

  test("reads the lists again when the viewer may no longer see a call", async () => {
    FakeEventSource.last.open();
    await answer(0, ["a"]);
    FakeEventSource.last.send("spy.live", { id: "s", call_id: "a", state: "live" });
    FakeEventSource.last.send("call.left", { id: "a" });
    FakeEventSource.last.send("spy.ended", { id: "s", call_id: "a", state: "ended" });
    assert.equal(reads.length, 2);
    await answer(1, []);
    assert.deepEqual(shown(), []);
  });
});
