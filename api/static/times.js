/** Durations, and instants in the viewer's time zone and language. */

/**
 * Return a duration as text: 65 s is "1:05", 3,665 s is "1:01:05".
 *
 * @param {number} seconds
 */
export function formatDuration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/**
 * Write an instant in a language, in the time zone of the browser.
 *
 * @param {Date} at
 * @param {string} show "time" for the time alone, "hour" for the hour, "full" for date and time;
 *   otherwise the date is left out if it is the date of `now`
 * @param {string} language
 * @param {Date} now
 */
export function formatInstant(at, show, language, now) {
  if (show === "hour") return new Intl.DateTimeFormat(language, { hour: "2-digit" }).format(at);
  const days = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
  const time = new Intl.DateTimeFormat(language, { timeStyle: "medium" }).format(at);
  const day = days.format(at);
  const hasTimeOnly = show === "time" || (day === days.format(now) && show !== "full");
  return hasTimeOnly ? time : `${day} ${time}`;
}

/**
 * Write every `<time data-local>` in a part of the page for the viewer, and every `<time data-zones>`
 * in the time zones that it names.
 *
 * @param {ParentNode} root
 */
export function localise(root) {
  const now = new Date();
  for (const time of root.querySelectorAll("time")) {
    if (time.dataset.local === undefined) continue;
    const at = new Date(time.dateTime);
    time.textContent = formatInstant(at, time.dataset.local, document.documentElement.lang, now);
    time.title = at.toString();
  }
  for (const time of root.querySelectorAll("time[data-zones]")) {
    const { dateTime, dataset } = /** @type {HTMLTimeElement} */ (time);
    const zones = (dataset.zones ?? "").split(" ").filter(Boolean);
    time.textContent = localTimes(new Date(dateTime), zones, document.documentElement.lang).join(", ");
  }
}

/**
 * Write into every `<time data-since>` how long ago its instant is.
 *
 * @param {ParentNode} root
 * @param {Date} now
 */
export function tick(root, now) {
  for (const time of root.querySelectorAll("time[data-since]")) {
    const since = new Date(/** @type {HTMLTimeElement} */ (time).dateTime);
    time.textContent = formatDuration((now.getTime() - since.getTime()) / 1000);
  }
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
