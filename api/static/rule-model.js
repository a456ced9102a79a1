/** A rule in its editor, without the page. */
import { fillIn, pluralOf, splitList } from "./words.js";

const TEXTS = ["name", "when", "action", "begins", "timezone", "announce_to"];
const TEXTS_OR_NULL = ["layout", "format", "announcement"];
const NUMBERS = ["priority", "sample_percent", "beep_every_s"];
const LISTS = ["tags", "variables", "headers"];

/**
 * Return the rule as the API takes it.
 *
 * @param {FormData} data
 * @param {Record<string, unknown>} terms the stored rule; keeps the terms that the form does not show
 * @returns {Record<string, unknown>}
 */
export function ruleOf(data, terms) {
  const text = (/** @type {string} */ name) => String(data.get(name) ?? "");
  const rule = { ...terms };
  for (const name of TEXTS) rule[name] = text(name);
  for (const name of TEXTS_OR_NULL) rule[name] = text(name) || null;
  for (const name of NUMBERS) rule[name] = Number(text(name));
  for (const name of LISTS) rule[name] = splitList(text(name));
  rule.retention_days = text("retention_days") ? Number(text("retention_days")) : null;
  rule.enabled = data.has("enabled");
  return rule;
}

/**
 * Return the line of an expression that holds a fault, with a mark below its position.
 *
 * @param {string} expression
 * @param {number | null | undefined} position
 */
export function markPosition(expression, position) {
  if (position === undefined || position === null) return "";
  const before = expression.slice(0, position).split("\n");
  const line = expression.split("\n")[before.length - 1];
  return `${line}\n${" ".repeat(before[before.length - 1].length)}^\n`;
}

/**
 * Return the word that ends at the cursor, or "".
 *
 * @param {string} expression
 * @param {number} cursor
 */
export function wordBefore(expression, cursor) {
  return expression.slice(0, cursor).match(/[a-z_]+$/)?.[0] ?? "";
}

/**
 * Return the fields of a call that complete a word.
 *
 * @param {string} word
 * @param {string[]} fields
 */
export function completionsOf(word, fields) {
  return word ? fields.filter((field) => field.startsWith(word) && field !== word) : [];
}

/**
 * @typedef {object} Trial the result of POST /rules/test
 * @property {number} calls
 * @property {number} changed
 * @property {boolean} complete
 * @property {number} audio_s_per_month
 * @property {number} bytes_per_month
 */

/**
 * @typedef {object} RunningTrial a trial that goes on in the background
 * @property {string} id
 * @property {string} state
 * @property {number} done
 * @property {number} total 0 while it waits
 * @property {Trial | null} result
 */

/**
 * @typedef {object} TrialWords
 * @property {Record<string, string>} tried by plural category
 * @property {Record<string, string>} changed by plural category
 * @property {string} part
 * @property {string} month
 */

/**
 * Return the result of a trial in sentences.
 *
 * @param {Trial} trial
 * @param {TrialWords} words
 * @param {string} language
 */
export function describeTrial(trial, { tried, changed, part, month }, language) {
  const sentences = [
    pluralOf(tried, trial.calls, language),
    ...(trial.complete ? [] : [part]),
    pluralOf(changed, trial.changed, language),
    month,
  ];
  return fillIn(sentences.join(" "), {
    ...trial,
    hours: (trial.audio_s_per_month / 3600).toFixed(1),
    megabytes: Math.round(trial.bytes_per_month / 1e6),
  });
}

/**
 * Return the progress of a trial that goes on in the background.
 *
 * @param {RunningTrial} trial
 * @param {{ waits: string, progress: string }} words
 */
export function describeProgress({ done, total }, { waits, progress }) {
  return total ? fillIn(progress, { done, total }) : waits;
}
