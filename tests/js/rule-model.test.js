import assert from "node:assert/strict";
import { test } from "node:test";

import {
  completionsOf, describeProgress, describeTrial, markPosition, ruleOf, wordBefore,
} from "../../api/static/rule-model.js";

/** @param {Record<string, string>} fields */
function formOf(fields) {
  const data = new FormData();
  const all = {
    name: "support", when: "true", action: "record", begins: "answer", timezone: "UTC",
    announce_to: "customer", layout: "", format: "", announcement: "", priority: "100",
    sample_percent: "12.5", beep_every_s: "0", tags: "one, two", variables: "", headers: "X-A",
    retention_days: "", ...fields,
  };
  for (const [name, value] of Object.entries(all)) data.set(name, value);
  return data;
}

test("a rule has the types that the API takes", () => {
  assert.deepEqual(ruleOf(formOf({ enabled: "on", layout: "stereo", retention_days: "30" }), {}), {
    name: "support", when: "true", action: "record", begins: "answer", timezone: "UTC",
    announce_to: "customer", layout: "stereo", format: null, announcement: null, priority: 100,
    sample_percent: 12.5, beep_every_s: 0, tags: ["one", "two"], variables: [], headers: ["X-A"],
    retention_days: 30, enabled: true,
  });
});

test("an empty retention and an unchecked box have values too", () => {
  const rule = ruleOf(formOf({}), {});
  assert.deepEqual([rule.retention_days, rule.enabled], [null, false]);
});

test("terms that the form does not show stay as they are", () => {
  const rule = ruleOf(formOf({ name: "new" }), { name: "old", future: 1 });
  assert.deepEqual([rule.name, rule.future], ["new", 1]);
});

test("a fault is marked below its line", () => {
  assert.equal(markPosition("a &&\n b == 1", 6), " b == 1\n ^\n");
  assert.equal(markPosition("abc", 0), "abc\n^\n");
  assert.equal(markPosition("abc", 3), "abc\n   ^\n");
  assert.equal(markPosition("abc", null), "");
  assert.equal(markPosition("abc", undefined), "");
});

test("a word is completed by the fields that begin with it", () => {
  assert.equal(wordBefore("did == 1 && call", 16), "call");
  assert.equal(wordBefore("caller did", 3), "cal");
  assert.equal(wordBefore("did ", 4), "");
  assert.deepEqual(completionsOf("d", ["did", "direction", "queue"]), ["did", "direction"]);
  assert.deepEqual(completionsOf("did", ["did", "direction"]), []);
  assert.deepEqual(completionsOf("", ["did"]), []);
});

test("a trial is described in sentences, with the part only if it is incomplete", () => {
  const words = {
    tried: { one: "{calls} call.", other: "{calls} calls." },
    changed: { one: "{changed} changes.", other: "{changed} change." },
    part: "Only a part.", month: "{hours} h, {megabytes} MB.",
  };
  const trial = { calls: 1, changed: 2, complete: true, audio_s_per_month: 5400, bytes_per_month: 2.6e6 };
  assert.equal(describeTrial(trial, words, "en"), "1 call. 2 change. 1.5 h, 3 MB.");
  const part = { ...trial, complete: false, calls: 3, changed: 1 };
  assert.equal(describeTrial(part, words, "en"), "3 calls. Only a part. 1 changes. 1.5 h, 3 MB.");
});

test("the progress of a trial is shown once it runs", () => {
  const words = { waits: "It waits.", progress: "{done} of {total}." };
  const trial = { id: "1", state: "waiting", done: 0, total: 0, result: null };
  assert.equal(describeProgress(trial, words), "It waits.");
  assert.equal(describeProgress({ ...trial, done: 3, total: 9 }, words), "3 of 9.");
});
