/** The values of a form, as the API takes them. */
import { splitList } from "./words.js";

/** @typedef {{ name: string, value: string, type: string, disabled: boolean, dataset: DOMStringMap }} Field */

/**
 * Return the body of a request from the named fields, or undefined if there are none.
 *
 * @param {Iterable<Field>} fields
 */
export function bodyOf(fields) {
  const sent = [...fields].filter(({ name, disabled }) => name && !disabled);
  return sent.length ? Object.fromEntries(sent.map((field) => [field.name, valueOf(field)])) : undefined;
}

/**
 * Return the value of a field: `data-list` is a list with commas, `data-json` is JSON, a number field
 * or `data-number` is a number or null, and an empty field with `data-optional` is null.
 *
 * @param {Pick<Field, "value" | "type" | "dataset">} field
 */
export function valueOf({ value, type, dataset }) {
  if ("list" in dataset) return splitList(value);
  if ("optional" in dataset && !value) return null;
  if ("json" in dataset) return JSON.parse(value);
  if (type === "number" || "number" in dataset) return value ? Number(value) : null;
  return value;
}
