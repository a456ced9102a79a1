/** The bookmarks of the recording that the player plays: drawn, gone to, and made where it is. */
import { whenGone } from "./page.js";
import { go, letterOf } from "./player.js";

export function mount(section) {
  const player = document.querySelector("[data-module=player]");
  const audio = player?.querySelector("audio");
  if (!audio) return;
  const layer = player.querySelector("[data-bookmarks]");
  const places = [...section.querySelectorAll("[data-at]")];
  layer.replaceChildren(...places.map(({ dataset }) => mark(Number(dataset.at), player)));
  for (const place of places) {
    place.addEventListener("click", () => go(audio, Number(place.dataset.at)));
  }
  const form = section.querySelector("form[data-bookmark]");
  if (!form) return;
  // Where one began to write is what is meant, also while it goes on playing.
  form.elements.text.addEventListener("focus", () => {
    const at = Math.floor(audio.currentTime * 10) / 10;
    form.elements.at_s.value = Math.min(at, player.dataset.length); // some audio is a little longer
  });
  const pressed = (event) => {
    if (letterOf(event) !== "b" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input:not([type=range]), select, textarea")) return;
    form.elements.text.focus();
    event.preventDefault();
  };
  document.addEventListener("keydown", pressed);
  whenGone(section, () => document.removeEventListener("keydown", pressed));
}

function mark(at, player) {
  const drawn = document.createElement("i");
  drawn.style.left = `${(100 * at) / Number(player.dataset.length)}%`;
  return drawn;
}
