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
 * @param {string} show "time" for the time alone, "full" for date and time; otherwise the date is
 *   left out if it is the date of `now`
 * @param {string} language
 * @param {Date} now
 */
export function formatInstant(at, show, language, now) {
  const days = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
  const time = new Intl.DateTimeFormat(language, { timeStyle: "medium" }).format(at);
  const day = days.format(at);
  const hasTimeOnly = show === "time" || (day === days.format(now) && show !== "full");
  return hasTimeOnly ? time : `${day} ${time}`;
}

/**
 * Write every `<time data-local>` in a part of the page for the viewer.
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
}
