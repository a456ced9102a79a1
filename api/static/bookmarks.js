/** The bookmarks of a recording: draw them, go to one, and write one at the present position. */
import { allElements, findElement, getElement, getField, targetOf } from "./dom.js";
import { hasModifier, letterOf } from "./keys.js";
import { whenGone } from "./page.js";
import { go } from "./player.js";

/** @param {HTMLElement} section */
export function mount(section) {
  const player = findElement(document, "[data-module=player]");
  const audio = player && findElement(player, "audio", HTMLAudioElement);
  if (!player || !audio) return;
  const length = Number(player.dataset.length);
  const bookmarks = allElements(section, "[data-at]");
  const marks = bookmarks.map(({ dataset }) => markAt(Number(dataset.at), length));
  getElement(player, "[data-bookmarks]").replaceChildren(...marks);
  for (const bookmark of bookmarks) {
    bookmark.addEventListener("click", () => go(audio, Number(bookmark.dataset.at)));
  }
  const form = findElement(section, "form[data-bookmark]", HTMLFormElement);
  if (!form) return;
  const text = getField(form, "text");
  // The bookmark belongs where the person began to write, while the recording plays on.
  text.addEventListener("focus", () => {
    const at = Math.floor(audio.currentTime * 10) / 10;
    getField(form, "at_s").value = String(Math.min(at, length)); // some audio is a little longer
  });
  const pressed = (/** @type {KeyboardEvent} */ event) => {
    if (letterOf(event) !== "b" || hasModifier(event)) return;
    if (targetOf(event)?.closest("input:not([type=range]), select, textarea")) return;
    text.focus();
    event.preventDefault();
  };
  document.addEventListener("keydown", pressed);
  whenGone(section, () => document.removeEventListener("keydown", pressed));
}

/**
 * @param {number} at
 * @param {number} length
 */
function markAt(at, length) {
  const mark = document.createElement("i");
  mark.style.left = `${(100 * at) / length}%`;
  return mark;
}
