/** What was made and is told once, a link, a token or a secret, is shown to be copied; `data-list` lists all. */
import { showAnew } from "./act.js";

export function mount(section) {
  section.addEventListener("acted", async ({ detail }) => {
    const told = detail?.secret ?? detail?.token ?? detail?.url;
    if (!told) return;
    await showAnew(section.dataset.list);
    const made = section.querySelector("[data-made]");
    made.hidden = false;
    const field = made.querySelector("input");
    field.value = told;
    field.select();
    made.querySelector("button").onclick = () => navigator.clipboard.writeText(told);
  });
}
