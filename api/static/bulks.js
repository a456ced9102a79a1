/** What is done in the background: looked at each second while it runs. */
import { showAnew } from "./act.js";

const LOOK_EVERY_MS = 1000;

export function mount(section) {
  if (!section.querySelector("[data-runs]")) return;
  setTimeout(() => section.isConnected && showAnew("#bulks"), LOOK_EVERY_MS);
}
