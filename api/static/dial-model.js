/** The steps and times of a dialled call, computed from the API's answers without a page. */

/** @typedef {"requested" | "ringing" | "dialling" | "up" | "ended"} Step */

/**
 * Return the step of a dialled call. Without the field `dial`, it follows from the state of the call.
 *
 * @param {Pick<Api.Call, "state" | "dial">} call
 * @returns {Step}
 */
export function stepOf({ state, dial }) {
  if (dial) return dial.state;
  if (state === "up") return "up";
  return state === "ringing" ? "ringing" : "ended";
}

/**
 * Return the key under which the browser keeps the phone of a person.
 *
 * @param {string} person
 */
export function phoneKey(person) {
  return `earwitness-own-phone:${person}`;
}

/**
 * Return the instant of a date and time that a person typed in the time zone of the browser.
 *
 * @param {string} typed such as "2026-11-30T14:05", the value of a field `datetime-local`
 * @returns {Date | null} null if the text is no time
 */
export function instantOf(typed) {
  const at = new Date(typed);
  return typed && !Number.isNaN(at.getTime()) ? at : null;
}

/**
 * Return an instant as the value of a field `datetime-local`, in the time zone of the browser.
 *
 * Example: 14:05 and 30 seconds is "2026-11-30T14:05".
 *
 * @param {Date} at
 */
export function typedOf(at) {
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${day}T${two(at.getHours())}:${two(at.getMinutes())}`;
}
