/** A call that we set up, as the pages show it: computed from the API's answers, without a page. */

/** @typedef {"requested" | "ringing" | "dialling" | "up" | "ended"} Step */

/**
 * Return how far a call is that we set up.
 *
 * Without the field `dial`, such as for a call of an older service, the state of the call must do.
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
 * Return a date and time of the browser's time zone as a field `datetime-local` takes it.
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

/**
 * Return the local times of an instant in the time zones of a number, each time once.
 *
 * A country number may be in many zones; those with the same time count as one.
 *
 * @param {Date} at
 * @param {string[]} zones such as "America/New_York"
 * @param {string} language
 * @returns {string[]} such as "Mon 09:05 (New York)"
 */
export function localTimes(at, zones, language) {
  /** @type {Map<string, string>} the first zone of each time */
  const found = new Map();
  for (const zone of zones) {
    const time = timeIn(at, zone, language);
    if (time && !found.has(time)) found.set(time, placeOf(zone));
  }
  return [...found].map(([time, place]) => `${time} (${place})`);
}

/**
 * @param {Date} at
 * @param {string} zone
 * @param {string} language
 */
function timeIn(at, zone, language) {
  try {
    const shape = { weekday: "short", hour: "2-digit", minute: "2-digit", timeZone: zone };
    return new Intl.DateTimeFormat(language, /** @type {any} */ (shape)).format(at);
  } catch {
    return null; // a zone that the browser does not know
  }
}

/** @param {string} zone */
function placeOf(zone) {
  return zone.slice(zone.lastIndexOf("/") + 1).replaceAll("_", " ");
}
