/** Instants in the viewer's zone and language, and durations. */
const language = document.documentElement.lang;
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
const clock = new Intl.DateTimeFormat(language, { timeStyle: "medium" });

/** 65 s → "1:05", 3,665 s → "1:01:05". */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** Write every <time data-local> of a part of the page as the viewer reads it. */
export function localise(root) {
  const today = day.format(new Date());
  for (const time of root.querySelectorAll("time[data-local]")) {
    const at = new Date(time.dateTime);
    const date = day.format(at);
    const alone = time.dataset.local === "time" || (date === today && time.dataset.local !== "full");
    const parts = alone ? [] : [date];
    time.textContent = [...parts, clock.format(at)].join(" ");
    time.title = at.toString();
  }
}
