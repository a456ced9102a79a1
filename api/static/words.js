/** The words of the page for the short names that the service sends, such as `call-ended`. */
import { readJson } from "./dom.js";

/** @type {Record<string, Record<string, string>> | null} */
let words = null;

/**
 * Return the page's words for a name, or "" if the page has none.
 *
 * @param {string} kind the group of names, such as "problem" or "ended"
 * @param {string | null | undefined} name
 */
export function wordsFor(kind, name) {
  words ??= readJson(document, "#words");
  return words?.[kind]?.[name ?? ""] ?? "";
}

/**
 * Replace each `{name}` in a sentence by the value of that name.
 *
 * Example: `fillIn("{calls} calls", { calls: 3 })` returns "3 calls".
 *
 * @param {string} sentence
 * @param {Record<string, unknown>} values
 */
export function fillIn(sentence, values) {
  return sentence.replace(/{(\w+)}/g, (_, name) => String(values[name]));
}

/**
 * Return the form of a sentence that fits a number in a language.
 *
 * @param {Record<string, string>} forms by plural category, such as "one" and "other"
 * @param {number} number
 * @param {string} language
 */
export function pluralOf(forms, number, language) {
  return forms[new Intl.PluralRules(language).select(number)] ?? forms.other;
}

/**
 * Split a list at its commas.
 *
 * @param {string} text
 */
export function splitList(text) {
  return text.split(",").map((item) => item.trim()).filter(Boolean);
}
