import assert from "node:assert/strict";
import { test } from "node:test";

import { bodyOf, valueOf } from "../../api/static/form-values.js";
import { hasModifier, letterOf } from "../../api/static/keys.js";
import { commonSilences, endOfSilence } from "../../api/static/silences.js";
import { formatDuration, formatInstant } from "../../api/static/times.js";
import { fillIn, pluralOf, splitList } from "../../api/static/words.js";

test("a duration has hours only if it needs them", () => {
  const shown = [0, 5, 65, 599.9, 3600, 3665, 36000].map(formatDuration);
  assert.deepEqual(shown, ["0:00", "0:05", "1:05", "9:59", "1:00:00", "1:01:05", "10:00:00"]);
  assert.equal(formatDuration(-3), "0:00");
});

test("an instant of today is shown without its date", () => {
  const [at, now] = [new Date(2026, 0, 2, 13, 5, 6), new Date(2026, 0, 2, 23, 0)];
  const time = formatInstant(at, "", "en-GB", now);
  assert.equal(time, "13:05:06");
  assert.equal(formatInstant(at, "", "en-GB", new Date(2026, 0, 3)), "2 Jan 2026 13:05:06");
  assert.equal(formatInstant(at, "full", "en-GB", now), "2 Jan 2026 13:05:06");
  assert.equal(formatInstant(at, "time", "en-GB", new Date(2026, 0, 3)), "13:05:06");
});

test("a sentence takes its values by name", () => {
  assert.equal(fillIn("{a} of {b}, {a}", { a: 1, b: "two" }), "1 of two, 1");
  assert.equal(fillIn("no braces", {}), "no braces");
});

test("a number chooses the form of its language", () => {
  const forms = { zero: "z", one: "o", two: "t", few: "f", many: "m", other: "x" };
  assert.deepEqual([1, 2, 0].map((n) => pluralOf(forms, n, "en")), ["o", "x", "x"]);
  assert.deepEqual([0, 1, 2, 3, 11, 100].map((n) => pluralOf(forms, n, "ar")), ["z", "o", "t", "f", "m", "x"]);
  assert.equal(pluralOf({ other: "x" }, 1, "en"), "x");
});

test("a list is split at commas, without spaces and empty items", () => {
  assert.deepEqual(splitList(" a, b c ,,d,"), ["a", "b c", "d"]);
  assert.deepEqual(splitList(""), []);
});

const field = (/** @type {Partial<import("../../api/static/form-values.js").Field>} */ more) =>
  ({ name: "x", value: "", type: "text", disabled: false, dataset: {}, ...more });

test("a field has the type that its attributes say", () => {
  assert.equal(valueOf(field({ value: "3" })), "3");
  assert.equal(valueOf(field({ value: "3", type: "number" })), 3);
  assert.equal(valueOf(field({ value: "3.5", dataset: { number: "" } })), 3.5);
  assert.equal(valueOf(field({ type: "number" })), null);
  assert.deepEqual(valueOf(field({ value: "a, b", dataset: { list: "" } })), ["a", "b"]);
  assert.deepEqual(valueOf(field({ value: '{"a":1}', dataset: { json: "" } })), { a: 1 });
  assert.equal(valueOf(field({ dataset: { optional: "" } })), null);
  assert.equal(valueOf(field({ value: "t", dataset: { optional: "" } })), "t");
  assert.deepEqual(valueOf(field({ value: "b, a", dataset: { list: '["a, c"]' } })), ["a, c", "b", "a"]);
  assert.equal(valueOf(field({ value: "new", dataset: { follows: '"old\\r\\n"' } })), "old\r\n\nnew");
  assert.equal(valueOf(field({ value: "", dataset: { follows: '"old"' } })), "old");
  assert.equal(valueOf(field({ value: "new", dataset: { follows: '""' } })), "new");
  const ticked = (/** @type {boolean} */ checked) => valueOf(field({ value: "on", type: "checkbox", checked }));
  assert.deepEqual([ticked(true), ticked(false)], [true, false]);
});

test("a body has the named fields that are enabled", () => {
  const fields = [field({ name: "a", value: "1" }), field({ name: "" }), field({ name: "b", disabled: true })];
  assert.deepEqual(bodyOf(fields), { a: "1" });
  assert.equal(bodyOf([field({ disabled: true })]), undefined);
  const hours = [field({ name: "h.from", value: "9", type: "number" }), field({ name: "h.to", value: "18", type: "number" })];
  assert.deepEqual(bodyOf(hours), { h: { from: 9, to: 18 } });
});

test("a key of any keyboard has its Latin letter", () => {
  assert.equal(letterOf({ key: "S", code: "KeyS" }), "s");
  assert.equal(letterOf({ key: "س", code: "KeyS" }), "s");
  assert.equal(letterOf({ key: "o", code: "KeyS" }), "o"); // Dvorak
  assert.equal(letterOf({ key: "5", code: "Digit5" }), "digit5");
});

test("a shortcut of the browser is recognised", () => {
  const none = { ctrlKey: false, metaKey: false, altKey: false };
  assert.equal(hasModifier(none), false);
  for (const key of Object.keys(none)) assert.equal(hasModifier({ ...none, [key]: true }), true, key);
});

test("a silence is common to all sides and longer than a second", () => {
  assert.deepEqual(commonSilences([[[0, 5], [7, 9]], [[1, 3], [4, 8.5]]]), [[1, 3], [7, 8.5]]);
  assert.deepEqual(commonSilences([[[0, 1], [2, 3.5]]]), [[2, 3.5]]);
  assert.deepEqual(commonSilences([[[0, 5]], []]), []);
  assert.deepEqual(commonSilences([]), []);
});

test("the player jumps from inside a silence to shortly before its end, and never back", () => {
  /** @type {import("../../api/static/silences.js").Span[]} */
  const silences = [[1, 3], [7, 9]];
  assert.equal(endOfSilence(silences, 1), 2.8);
  assert.equal(endOfSilence(silences, 8), 8.8);
  for (const now of [0.9, 2.8, 2.9, 3, 5, 9]) assert.equal(endOfSilence(silences, now), null, String(now));
});
