/** Find elements by selector and type, so that a missing element fails with its selector. */

/**
 * Return the first element that matches; throw if there is none.
 *
 * Example: `getElement(form, "#phone", HTMLInputElement).value`
 *
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} [type] the class of the element; HTMLElement by default
 * @returns {T}
 */
export function getElement(root, selector, type) {
  const found = findElement(root, selector, type);
  if (!found) throw new Error(`the page has no ${selector}`);
  return found;
}

/**
 * Return the first element that matches, or null.
 *
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} [type]
 * @returns {T | null}
 */
export function findElement(root, selector, type) {
  const found = root.querySelector(selector);
  return found instanceof (type ?? HTMLElement) ? /** @type {T} */ (found) : null;
}

/**
 * Return every element of the type that matches.
 *
 * @template {Element} [T=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} [type]
 * @returns {T[]}
 */
export function allElements(root, selector, type) {
  const found = [...root.querySelectorAll(selector)];
  return /** @type {T[]} */ (found.filter((element) => element instanceof (type ?? HTMLElement)));
}

/**
 * Return the field of a form with this name; throw if there is none.
 *
 * @template {Element} [T=HTMLInputElement]
 * @param {HTMLFormElement} form
 * @param {string} name
 * @param {new () => T} [type]
 * @returns {T}
 */
export function getField(form, name, type) {
  const field = form.elements.namedItem(name);
  if (field instanceof (type ?? HTMLInputElement)) return /** @type {T} */ (/** @type {unknown} */ (field));
  throw new Error(`the form has no field ${name}`);
}

/**
 * Read the JSON that the service wrote into a `<script>` of the page.
 *
 * @param {ParentNode} root
 * @param {string} selector
 * @returns {any}
 */
export function readJson(root, selector) {
  return JSON.parse(getElement(root, selector).textContent ?? "");
}

/**
 * Return the control that an event came from, or null if it is no element.
 *
 * @param {Event} event
 * @returns {Element | null}
 */
export function targetOf({ target }) {
  return target instanceof Element ? target : null;
}
