/** Keys of the keyboard. */

/**
 * Return the Latin letter of a key, in lower case, also on a keyboard with another script.
 *
 * @param {{ key: string, code: string }} event
 */
export function letterOf({ key, code }) {
  return /^[a-z]$/i.test(key) ? key.toLowerCase() : code.replace(/^Key/, "").toLowerCase();
}

/**
 * Say whether a key belongs to a shortcut of the browser or of the system.
 *
 * @param {{ ctrlKey: boolean, metaKey: boolean, altKey: boolean }} event
 */
export function hasModifier({ ctrlKey, metaKey, altKey }) {
  return ctrlKey || metaKey || altKey;
}
