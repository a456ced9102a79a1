/** A new link is shown once, to be copied. */
import { showAnew } from "./act.js";

export function mount(section) {
  section.addEventListener("acted", async ({ detail }) => {
    if (!detail?.url) return;
    await showAnew("#links");
    const made = section.querySelector("[data-made]");
    made.hidden = false;
    const field = made.querySelector("input");
    field.value = detail.url;
    field.select();
    made.querySelector("button").onclick = () => navigator.clipboard.writeText(detail.url);
  });
}
