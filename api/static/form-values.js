/** The values of a form, as the API takes them. */
import { splitList } from "./words.js";

/** @typedef {{ name: string, value: string, type: string, checked?: boolean, disabled: boolean, dataset: DOMStringMap }} Field */

/**
 * Return the body of a request from the named fields, or undefined if there are none.
 *
 * A name with a dot goes into an object: `hours.to_hour` is `{ hours: { to_hour: … } }`.
 *
 * @param {Iterable<Field>} fields
 */
export function bodyOf(fields) {
  const sent = [...fields].filter(({ name, disabled }) => name && !disabled);
  if (sent.length === 0) return undefined;
  /** @type {Record<string, any>} */
  const body = {};
  for (const field of sent) {
    const [group, name] = field.name.split(".");
    if (name) body[group] = { ...body[group], [name]: valueOf(field) };
    else body[group] = valueOf(field);
  }
  return body;
}

/**
 * Return the value of a field: `data-list` is a list with commas, which a list in the attribute
 * begins, `data-json` is JSON, a number field or `data-number` is a number or null, a checkbox is true
 * or false, and an empty field with `data-optional` is null. The value goes on a new line after the
 * text in `data-follows`, which is JSON.
 *
 * @param {Pick<Field, "value" | "type" | "checked" | "dataset">} field
 */
export function valueOf({ value, type, checked, dataset }) {
  if (type === "checkbox") return Boolean(checked);
  if ("list" in dataset) return [...JSON.parse(dataset.list || "[]"), ...splitList(value)];
  if ("optional" in dataset && !value) return null;
  if ("json" in dataset) return JSON.parse(value);
  if (type === "number" || "number" in dataset) return value ? Number(value) : null;
  const before = JSON.parse(dataset.follows || '""');
  return before ? `${before}\n${value}`.trimEnd() : value;
}
