import assert from "node:assert/strict";
import { test } from "node:test";

import { instantOf, phoneKey, stepOf, typedOf } from "../../api/static/dial-model.js";
import { localTimes } from "../../api/static/times.js";

/** @param {Partial<Api.Dial>} more @returns {Api.Dial} */
const dial = (more) => ({ state: "requested", number: "+12025550123", cause: null, talked_at: null, ...more });

test("the steps are those of the dialled call, or follow from the state of the call", () => {
  assert.equal(stepOf({ state: "ringing", dial: dial({ state: "dialling" }) }), "dialling");
  assert.equal(stepOf({ state: "up", dial: dial({ state: "dialling" }) }), "dialling");
  assert.equal(stepOf({ state: "ringing" }), "ringing");
  assert.equal(stepOf({ state: "up", dial: null }), "up");
  assert.equal(stepOf({ state: "ended" }), "ended");
});

test("each person of a browser has a phone of his own", () => {
  assert.notEqual(phoneKey("Ann"), phoneKey("Bob"));
});

test("a time goes into a field and comes back, to the minute", () => {
  const at = new Date(2026, 10, 3, 9, 5, 30);
  assert.equal(typedOf(at), "2026-11-03T09:05");
  assert.equal(instantOf(typedOf(at))?.getTime(), new Date(2026, 10, 3, 9, 5).getTime());
});

test("an empty field and a wrong time are no time", () => {
  assert.deepEqual([instantOf(""), instantOf("tomorrow")], [null, null]);
});

test("the time at a number is shown once for all zones that have it", () => {
  const at = new Date("2026-11-30T14:05:00Z");
  const zones = ["America/New_York", "America/Toronto", "America/Los_Angeles", "Nowhere/At_all"];
  const times = localTimes(at, zones, "en-GB");
  assert.deepEqual(times, ["Mon 09:05 (New York)", "Mon 06:05 (Los Angeles)"]);
  assert.deepEqual(localTimes(at, [], "en"), []);
});
